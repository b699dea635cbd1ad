// Improves pages that work without it: it refreshes their region, copies, shows local times, listens to keys and keeps
// views. Nothing here is needed to read or to act.

const REFRESH_MS = 5000; // between two refreshes
const FAILING_MS = 15000; // the same, while they fail
const POINTER_MS = 2000; // a region under a moving pointer stays as it is
const GO_MS = 2000; // between g and the key of a place
const VIEWS = 20; // at most so many are kept per list

const live = document.getElementById("live");
const main = document.getElementById("main");
const updated = document.getElementById("updated");
const frozen = document.getElementById("frozen");

// ---- What the browser keeps. It may refuse to.

function load(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`crossdock.${key}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function save(key, value) {
  try {
    localStorage.setItem(`crossdock.${key}`, JSON.stringify(value));
  } catch {
    // It is lost with this page.
  }
}

function element(name, properties = {}, ...children) {
  const result = Object.assign(document.createElement(name), properties);
  result.append(...children);
  return result;
}

// ---- Refreshing: htmx asks for the region and swaps it, and this decides when.

let tag = null; // of the region that is shown
let updatedAt = Date.now();
let askedAt = Date.now();
let problem = "";
let pointerAt = 0;
let isAsking = false;

function isField(node) {
  return node instanceof HTMLElement && (/^(INPUT|TEXTAREA|SELECT)$/.test(node.tagName) || node.isContentEditable);
}

function isChanged(field) {
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  if (field.type.startsWith("select")) return [...field.options].some((one) => one.selected !== one.defaultSelected);
  return field.value !== field.defaultValue;
}

// Returns why the region must stay as it is; empty if it may change.
function hold() {
  const focused = document.activeElement;
  if (document.querySelector("dialog[open]")) return "while a dialog is open";
  if (live.querySelector("details[open]:not([data-open])")) return "while something is unfolded";
  if (String(document.getSelection() ?? "")) return "while text is selected";
  const fields = live.querySelectorAll("input:not([type=hidden]), select, textarea");
  if ([...fields].some(isChanged)) return "while rows are ticked";
  if (isField(focused)) return "while you type";
  if (live.contains(focused)) return "while something in it has the focus (Escape ends that)";
  if (Date.now() - pointerAt < POINTER_MS) return "while the pointer moves";
  return "";
}

function ago(ms) {
  const seconds = Math.round(ms / 1000);
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

function setText(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

function show(why) {
  const age = Date.now() - updatedAt;
  setText(updated, `Updated ${ago(age)} ago.${why && age > REFRESH_MS ? ` It waits ${why}.` : ""}`);
  setText(frozen, problem ? `${problem} What you see may be old.` : "");
}

function tick() {
  if (document.hidden) return;
  const why = hold();
  show(why);
  if (why || isAsking || Date.now() - askedAt < (problem ? FAILING_MS : REFRESH_MS)) return;
  askedAt = Date.now();
  document.body.dispatchEvent(new Event("refresh"));
}

function succeeded(response) {
  updatedAt = Date.now();
  problem = "";
  const made = new Date(response.headers.get("Date") ?? updatedAt).toISOString();
  setText(document.getElementById("made"), made.slice(0, 19).replace("T", " "));
  const [kind, words] = (response.headers.get("Crossdock-State") ?? "").split("; ");
  const state = document.querySelector("#state .status");
  if (state && words) {
    state.className = `status ${kind}`;
    setText(state, words);
  }
  show("");
}

if (live && window.htmx) {
  live.addEventListener("htmx:config:request", (event) => {
    if (tag) event.detail.ctx.request.headers["If-None-Match"] = tag;
    isAsking = true;
  });
  live.addEventListener("htmx:before:swap", (event) => {
    const response = event.detail.ctx.response;
    const isSame = response.status === 304;
    if (isSame || (response.status === 200 && response.headers.get("ETag") && !hold())) {
      tag = response.headers.get("ETag");
      succeeded(response);
      return;
    }
    event.preventDefault(); // what is shown keeps its tag
    if (response.status === 401) problem = "You are logged out: load the page again.";
    else if (response.status !== 200) problem = `This is not refreshed: the console answered ${response.status}.`;
  });
  live.addEventListener("htmx:after:swap", () => improve(live));
  live.addEventListener("htmx:error", () => {
    problem = "This is not refreshed: the console does not answer.";
  });
  live.addEventListener("htmx:finally:request", () => {
    isAsking = false;
    show(hold());
  });
  live.addEventListener("pointermove", () => {
    pointerAt = Date.now();
  });
  document.addEventListener("visibilitychange", tick);
  setInterval(tick, 1000);
}

// ---- Times on the reader's own clock, and buttons that copy.

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Over plain HTTP there is no clipboard, but a selected text can be copied.
  const area = element("textarea", { value: text, className: "visually-hidden", readOnly: true });
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  if (!isCopied) throw new Error("not copied");
}

function improve(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const local = `${new Date(time.dateTime).toLocaleString()} on your clock`;
    if (!time.title.endsWith(local)) time.title = time.title ? `${time.title}, ${local}` : local;
  }
  for (const source of root.querySelectorAll("[data-copy]")) {
    if (source.nextElementSibling?.classList.contains("copy")) continue;
    const button = element("button", { type: "button", className: "copy quiet", textContent: "Copy" });
    button.addEventListener("click", async () => {
      try {
        await copy(source.dataset.copy || source.textContent.trim());
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select it and copy it yourself";
      }
      button.focus();
    });
    source.after(button);
  }
}

// ---- Views: the filters of a list, kept in this browser.

function nameOf(query) {
  const parts = [...new URLSearchParams(query)].filter(([name, value]) => value && name !== "after" && name !== "done");
  return parts.map(([name, value]) => `${name} ${value}`).join(", ").slice(0, 80);
}

function showViews(form) {
  const key = `views ${location.pathname}`;
  const box = element("p", { className: "views" });
  const draw = () => {
    const views = load(key, []);
    const items = views.flatMap((query) => {
      const remove = element("button", { type: "button", className: "quiet", textContent: "×" });
      remove.ariaLabel = `Forget ${nameOf(query)}`;
      remove.addEventListener("click", () => {
        save(key, views.filter((other) => other !== query));
        draw();
      });
      return [element("span", {}, element("a", { href: query, textContent: nameOf(query) }), " ", remove)];
    });
    const query = location.search;
    const keep = element("button", { type: "button", className: "quiet", textContent: "Keep this view" });
    keep.addEventListener("click", () => {
      save(key, [query, ...views].slice(0, VIEWS));
      draw();
    });
    if (nameOf(query) && !views.includes(query)) items.push(keep);
    box.replaceChildren(...(items.length ? ["Views in this browser: ", ...items] : []));
  };
  draw();
  form.after(box);
}

// ---- Keys: each is a link or a field with data-key on the page; j and k go through the rows of a list.

const PLACES = new Map([...document.querySelectorAll("[data-go]")].map((link) => [link.dataset.go, link.href]));
let goingAt = 0;

function move(step) {
  const rows = [...main.querySelectorAll("tbody tr, .rows > li")].filter((row) => row.querySelector("a[href]"));
  const current = rows.findIndex((row) => row.contains(document.activeElement));
  const next = current < 0 && step < 0 ? rows.length - 1 : current + step;
  rows[Math.min(Math.max(next, 0), rows.length - 1)]?.querySelector("a[href]").focus();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && main.contains(document.activeElement)) document.activeElement.blur();
  if (isField(document.activeElement) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (!load("keys", true)) return;
  const place = Date.now() - goingAt < GO_MS && PLACES.get(event.key);
  goingAt = event.key === "g" ? Date.now() : 0;
  const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (place) location.assign(place);
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (target?.href) location.assign(target.href);
  else if (target) target.focus();
  else return;
  event.preventDefault();
});

for (const box of document.querySelectorAll("[data-keys]")) {
  box.closest("[hidden]")?.removeAttribute("hidden");
  box.checked = load("keys", true);
  box.addEventListener("change", () => save("keys", box.checked));
}
for (const form of document.querySelectorAll("form.filters")) showViews(form);
improve(document);
