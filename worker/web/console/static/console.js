// Functions that htmx does not have.

// A part that htmx refreshes keeps focus and selected text. The page shows when the last refresh worked, or that the
// connection is lost.
(() => {
  "use strict";
  const AWAY_MILLISECONDS = 20000;
  let heard = Date.now();
  let shown = null;
  let focused = null;

  const say = () => {
    const line = document.querySelector(".refreshed");
    if (!line || !document.querySelector("main [hx-trigger*='every']")) return;
    const isAway = Date.now() - heard > AWAY_MILLISECONDS;
    const words = (isAway ? line.dataset.away : line.dataset.worked).replace("{}", shown);
    line.classList.toggle("away", isAway);
    line.hidden = shown === null;
    // A screen reader announces only a lost connection, not every new time.
    line.setAttribute("aria-live", isAway ? "polite" : "off");
    if (line.textContent !== words) line.textContent = words;
  };

  // A selector that finds the element again after its part of the page was replaced; null if none would find it.
  const found = (element) =>
    element.id ? "#" + CSS.escape(element.id) : element.matches("a[href]") ? `a[href="${CSS.escape(element.getAttribute("href"))}"]` : null;

  const isInUse = (part) => {
    const selection = getSelection();
    if (!selection.isCollapsed && selection.rangeCount && selection.getRangeAt(0).intersectsNode(part)) return true;
    if (part.querySelector("details[open]")) return true;
    const typed = (field) => field.checked !== field.defaultChecked || field.value !== field.defaultValue;
    return [...part.querySelectorAll("input, textarea")].some(typed);
  };

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target } = event.detail;
    // If only the number in the navigation was refreshed, the page below it may still be old.
    if (xhr.status !== 200 || !target.closest("main")) return;
    heard = Date.now();
    const active = document.activeElement;
    focused = target.contains(active) ? found(active) : null;
    if (isInUse(target) || (target.contains(active) && !focused)) event.detail.shouldSwap = false;
    else shown = xhr.getResponseHeader("X-Shown-At") || shown;
    say();
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (focused) document.querySelector(focused)?.focus({ preventScroll: true });
    focused = null;
  });
  // A browser may suspend a hidden page. This is not a lost connection, so the time without an answer starts anew.
  document.addEventListener("visibilitychange", () => (heard = Date.now()));
  document.addEventListener("DOMContentLoaded", () => {
    shown = document.querySelector(".refreshed")?.dataset.shown ?? null;
    say();
    setInterval(say, 1000);
  });
})();

// Typing and copying. A form keeps its input after Back, and after a new sign-in if the last one had expired. Ids and
// phones have a button that copies them. If a recharge is chosen as failed, the proposed amount is removed.
(() => {
  "use strict";
  const PREFIX = "typed ";

  // The input is kept in this tab only, for the user who typed it. It is only shown again, never sent by itself.
  const key = (form) => PREFIX + form.dataset.typedBy + " " + new URL(form.action).pathname;
  const fields = (form) => [...form.elements].filter((one) => one.name && !["hidden", "submit"].includes(one.type));
  const isTicked = (one) => ["radio", "checkbox"].includes(one.type);
  const keep = (event) => {
    const form = event.target.form;
    if (!form?.dataset.typedBy) return;
    const typed = fields(form).map((one) => [one.name, one.value, one.checked]);
    sessionStorage.setItem(key(form), JSON.stringify(typed));
  };
  const restore = (form) => {
    for (const [name, value, checked] of JSON.parse(sessionStorage.getItem(key(form)) ?? "[]"))
      for (const one of fields(form)) {
        if (one.name !== name) continue;
        if (!isTicked(one)) one.value = value;
        else if (one.value === value) one.checked = checked;
      }
  };
  const forget = () => {
    for (const name of Object.keys(sessionStorage)) if (name.startsWith(PREFIX)) sessionStorage.removeItem(name);
  };
  const isSignOut = (form) => new URL(form.action).pathname.endsWith("/sign-out");
  // Whether the page was opened by Back, or after a sign-in. Otherwise a form keeps the values that the server sent.
  const isReturn = () =>
    performance.getEntriesByType("navigation")[0]?.type !== "navigate" ||
    (document.referrer && new URL(document.referrer).pathname.endsWith("/sign-in"));

  const chargeNothing = ({ target }) => {
    const amount = target.name === "state" ? target.form?.elements.amount : null;
    if (!amount) return;
    if (target.value === "failed" && amount.value === amount.defaultValue) amount.value = "";
    if (target.value === "succeeded" && !amount.value) amount.value = amount.defaultValue;
  };

  const addCopyButton = (shown) => {
    const { copy, copied } = shown.dataset;
    const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: copy });
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(shown.textContent.trim());
      button.textContent = copied;
      setTimeout(() => (button.textContent = copy), 2000);
    });
    shown.after(button);
  };

  document.addEventListener("change", chargeNothing);
  for (const kind of ["input", "change"]) document.addEventListener(kind, keep);
  document.addEventListener("submit", (event) => isSignOut(event.target) && forget());
  if (document.querySelector(".done.good")) forget();
  else if (isReturn()) document.querySelectorAll("form[data-typed-by]").forEach(restore);
  // Without https, a browser lets a page copy only if the page comes from the same machine.
  if (navigator.clipboard) document.querySelectorAll("[data-copy]").forEach(addCopyButton);
})();

// The tick at the head of a list ticks all its rows. It stays hidden if no script runs.
(() => {
  "use strict";
  const show = () => document.querySelectorAll("[data-ticks]").forEach((one) => (one.hidden = false));
  document.addEventListener("change", ({ target }) => {
    const name = target.dataset.ticks;
    if (!name) return;
    for (const one of document.querySelectorAll("input[type=checkbox]")) if (one.name === name) one.checked = target.checked;
  });
  document.addEventListener("htmx:load", show);
  show();
})();
