"use strict";
// The browser of rows: filters look at the index; a text is looked for chunk by chunk; a row is made when opened.

const ROLES = ["chosen", "hard rejected", "easy rejected"];
const SHOWN = 20; // rows at a time

(async function browse() {
  const element = (id) => document.getElementById(id);
  const section = element("rows"), form = element("filters"), list = element("list"), found = element("found");
  if (typeof DecompressionStream === "undefined") {
    found.textContent = "This browser is too old to unpack the rows (it has no DecompressionStream).";
    return;
  }
  const index = await unpack(element("index"));
  const rowChunks = chunks([...document.querySelectorAll("script.rows")]);
  const itemChunks = chunks([...document.querySelectorAll("script.items")]);
  const size = Number(section.dataset.chunk), itemSize = Number(section.dataset.items);
  const lower = index.title.map((title) => (title ?? "").toLowerCase());
  let matches = [], page = 0, search = 0;

  const gap = (row) => index.score[row][0] - index.score[row][1];

  function fits(row, wanted) {
    const scores = index.score[row], of = scores[wanted.role];
    if (of < wanted.low || of > wanted.high) return false;
    if (wanted.domain !== "" && index.domain[row] !== Number(wanted.domain)) return false;
    if (wanted.differs && !index.differs[row]) return false;
    if (wanted.conflict === "above") return gap(row) < 0;
    if (wanted.conflict === "level") return gap(row) === 0;
    return wanted.conflict !== "none" || gap(row) > 0;
  }

  // Whether a row holds the text: in a title, a review or a rationale.
  function holds(chunk, at, text, titled) {
    if (chunk.history[at].some((item) => titled.has(item))) return true;
    if (chunk.answers[at].some((one) => titled.has(one.item) || has(one.rationale, text))) return true;
    return chunk.review[at].some((review) => has(review, text));
  }

  function has(value, text) {
    return value !== null && value.toLowerCase().includes(text);
  }

  function read() {
    const values = Object.fromEntries(new FormData(form));
    return { differs: "", ...values, text: values.text.trim().toLowerCase(), low: Number(values.low), high: Number(values.high) };
  }

  async function filter() {
    const wanted = read(), mine = ++search;
    const rows = [];
    for (let row = 0; row < index.id.length; row++) if (fits(row, wanted)) rows.push(row);
    matches = wanted.text ? [] : rows;
    page = 0;
    if (wanted.text && !(await look(rows, wanted.text, mine))) return;
    if (wanted.order) {
      const sign = wanted.order === "worst" ? 1 : -1;
      matches.sort((a, b) => sign * (gap(a) - gap(b)) || a - b);
    }
    tell("");
    show();
  }

  // Goes through the chunks of these rows; false if another search has begun meanwhile.
  async function look(rows, text, mine) {
    const titled = new Set();
    lower.forEach((title, item) => { if (title.includes(text)) titled.add(item); });
    let number = -1, chunk = null, told = performance.now();
    for (const row of rows) {
      if (Math.floor(row / size) !== number) {
        number = Math.floor(row / size);
        chunk = await rowChunks.get(number);
        if (mine !== search) return false;
        if (performance.now() - told > 100) {
          tell(`, looking through ${number + 1} of ${rowChunks.count} parts …`);
          await new Promise((resume) => setTimeout(resume));
          told = performance.now();
        }
      }
      if (holds(chunk, row % size, text, titled)) matches.push(row);
    }
    return mine === search;
  }

  function tell(more) {
    const all = index.id.length.toLocaleString("en");
    found.textContent = `${matches.length.toLocaleString("en")} of ${all} rows${more}`;
  }

  function show() {
    const last = Math.max(0, Math.ceil(matches.length / SHOWN) - 1);
    page = Math.min(Math.max(page, 0), last);
    list.start = page * SHOWN + 1;
    list.replaceChildren(...matches.slice(page * SHOWN, (page + 1) * SHOWN).map(line));
    element("pager").hidden = last === 0;
    element("where").textContent = `page ${(page + 1).toLocaleString("en")} of ${(last + 1).toLocaleString("en")}`;
    element("previous").disabled = page === 0;
    element("next").disabled = page === last;
  }

  function line(row) {
    const [chosen, hard, easy] = index.score[row];
    const scores = make("span", "scores", badge("chosen", chosen), " > ", badge("hard", hard), " > ", badge("easy", easy));
    scores.setAttribute("aria-label", `scores: chosen ${chosen}, hard rejected ${hard}, easy rejected ${easy}`);
    const mark = gap(row) < 0 ? make("span", "mark", "conflict") : null;
    const differs = index.differs[row] ? make("span", "mark", "differs") : null;
    const title = make("bdi", "", index.title[index.item[row]] ?? "(title withheld)");
    const details = make("details", "row", make("summary", "", scores, " ", mark, differs, title));
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) fill(details, row);
    });
    return make("li", "", details);
  }

  function badge(role, score) {
    return make("b", `badge ${role}`, String(score));
  }

  async function fill(details, row) {
    const body = make("div", "body", "…");
    details.append(body);
    const chunk = await rowChunks.get(Math.floor(row / size)), at = row % size;
    const command = make("code", "", `capo-data show ${section.dataset.name} --id ${index.id[row]}`);
    const about = make("p", "faint", `${index.domains[index.domain[row]]}, user ${chunk.user[at]}. `, command);
    body.replaceChildren(about, answers(chunk, at), await history(chunk, at));
    details.dataset.filled = "yes";
  }

  function answers(chunk, at) {
    const other = chunk.other[at];
    return make("div", "answers", ...chunk.answers[at].map((one) => {
      const role = one.role.replace("_", " "), expected = one.expected === null ? "" : ` (expected ${one.expected.toFixed(2)})`;
      const head = make("h4", one.role.split("_")[0], `${role}: ${one.score}${expected}`);
      const text = make("p", "text", one.rationale ?? "(withheld)");
      const card = make("article", "answer", head, make("p", "title", make("bdi", "", index.title[one.item] ?? "(withheld)")), text);
      card.append(make("p", "faint", one.judge));
      if (section.dataset.against) card.append(beside(other === null ? null : other[one.role], index.item_id[one.item]));
      return card;
    }));
  }

  // What the other run says in the same row's same role.
  function beside(answer, item) {
    const part = make("div", "beside", make("h5", "", section.dataset.against));
    if (!answer) {
      part.append(make("p", "faint", "no such row there: tied, dropped or not judged"));
      return part;
    }
    if (answer.item_id !== item) part.append(make("p", "title", make("bdi", "", answer.title ?? "(withheld)")));
    part.append(make("p", "", `score ${answer.score}`), make("p", "text", answer.rationale ?? "(withheld)"));
    return part;
  }

  async function history(chunk, at) {
    const items = chunk.history[at];
    const numbers = [...new Set(items.map((item) => Math.floor(item / itemSize)))];
    const parts = new Map(await Promise.all(numbers.map(async (n) => [n, await itemChunks.get(n)])));
    const entries = items.map((item, n) => {
      const rating = chunk.rating[at][n], value = chunk.value[at][n];
      const [description, details] = parts.get(Math.floor(item / itemSize)).texts[item % itemSize];
      const head = make("p", "title", make("span", "faint", `${day(chunk.day[at][n])}  `), make("bdi", "", index.title[item] ?? "(withheld)"));
      if (rating !== null) head.append(make("span", "rating", `  ${rating}${value === null ? "" : ` (${value})`}`));
      const review = chunk.review[at][n] === null ? null : make("blockquote", "text", chunk.review[at][n]);
      const entry = make("li", "", head, review);
      const more = [description, details].filter((text) => text !== null);
      if (more.length) entry.append(make("details", "", make("summary", "faint", "about the item"), ...more.map((text) => make("p", "text", text))));
      return entry;
    });
    const absent = [[chunk.cut[at], "older, cut for length"], [chunk.untitled[at], "without a title"]];
    const told = absent.filter(([count]) => count).map(([count, what]) => `${count} ${what}`).join(", ");
    const heading = make("h4", "", `History (${items.length}${told ? `; not shown: ${told}` : ""})`);
    return make("div", "history", heading, make("ol", "", ...entries));
  }

  function turn(by) {
    page += by;
    show();
    section.scrollIntoView();
    list.querySelector("summary")?.focus({ preventScroll: true });
  }

  let typed = 0;
  form.addEventListener("input", (event) => {
    clearTimeout(typed);
    typed = setTimeout(filter, event.target.name === "text" ? 250 : 0);
  });
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  element("previous").addEventListener("click", () => turn(-1));
  element("next").addEventListener("click", () => turn(1));
  form.hidden = false;
  await filter();
  section.dataset.ready = "yes";
})();
