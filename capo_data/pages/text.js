"use strict";
// Elements from text. Nothing is ever read as markup.

// Control, format and bidirectional characters are spelt out, as `capo-data show` does; joiners are needed
// by several scripts and by emoji.
const HIDDEN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

function visible(text) {
  return text.replace(HIDDEN, (c) =>
    c === "\n" ? c : `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

function make(tag, name = "", ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (name === "text") element.dir = "auto";
  for (const child of children) {
    if (child !== null) element.append(typeof child === "string" ? document.createTextNode(visible(child)) : child);
  }
  return element;
}

// A day since 1970 as a date; what no calendar holds stays a number.
function day(number) {
  const date = new Date(number * 86400000);
  return Number.isNaN(date.getTime()) ? String(number) : date.toISOString().slice(0, 10);
}
