"use strict";
// Packed data of the page: gzip in base64 of JSON, in elements that hold nothing else.

const KEPT = 40; // unpacked chunks that stay in memory

async function unpack(element) {
  const text = atob(element.textContent);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// Chunks of one kind, unpacked when they are asked for; the ones asked for longest ago go first.
function chunks(elements) {
  const held = new Map();
  return {
    count: elements.length,
    get(number) {
      const found = held.get(number) ?? unpack(elements[number]);
      held.delete(number);
      held.set(number, found);
      if (held.size > KEPT) held.delete(held.keys().next().value);
      return found;
    },
  };
}
