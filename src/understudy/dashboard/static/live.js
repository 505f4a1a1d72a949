// What is pushed is shown; times are the viewer's; what counts, counts. No other file of ours runs on a page.
"use strict";
(() => {
  const body = document.body;
  const language = document.documentElement.lang;
  const spans = JSON.parse(body.dataset.spans);
  const SILENT_MS = 12000, AGAIN_MS = [500, 1000, 2000, 4000], RELOAD_MS = 30000;
  let ahead = Number(body.dataset.now) - Date.now(); // of the hub's clock before ours
  let heard = performance.now(), tries = 0; // to reach the hub again
  const now = () => Date.now() + ahead;
  const all = (selector, root = document) => root.querySelectorAll(selector);

  // ---- times

  const span = (ms) => {
    let rest = Math.max(Math.round(ms / 1000), 0);
    const parts = [];
    for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
      const count = Math.floor(rest / size);
      rest -= count * size;
      if (count || parts.length || unit === "s") parts.push([unit, count]);
    }
    return parts.slice(0, 2).filter(([, count], n) => count || !n).map(([unit, count]) => spans[unit].replace("{count}", count)).join(" ");
  };
  const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
  const both = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  const seconds = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const bothSeconds = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const full = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });
  const pick = (at, today, other) => (at.toDateString() === new Date(now()).toDateString() ? today : other).format(at);
  const moment = (at) => pick(at, clock, both);
  const set = (node, text) => { if (node.textContent !== text) node.textContent = text; };

  const local = (root) => {
    for (const node of all("time[datetime]", root)) {
      const at = new Date(node.dateTime);
      if (isNaN(at)) continue;
      set(node, node.dataset.form === "clock" ? clock.format(at) : node.dataset.form === "exact" ? pick(at, seconds, bothSeconds) : moment(at));
      node.title = full.format(at);
    }
    for (const part of all("rect[data-from]", root)) {
      const { from, to, word } = part.dataset;
      part.setAttribute("aria-label", `${word} ${moment(new Date(Number(from)))} – ${moment(new Date(Number(to)))}`);
    }
    for (const node of all("[data-origin]", root)) set(node, location.origin);
  };

  let beats = {};
  const beatsOf = (id) => (Object.hasOwn(beats, id) ? beats[id] : [0, 0, 0]); // a daemon may be called "constructor"
  const readBeats = () => { beats = JSON.parse(document.getElementById("beats")?.dataset.beats ?? "{}"); };
  const tick = () => {
    for (const node of all("[data-silent]")) {
      const [seen] = beatsOf(node.dataset.silent);
      set(node, seen ? span(now() - seen) : "–");
    }
    for (const node of all("[data-next]")) {
      const [, late, down] = beatsOf(node.dataset.next);
      const label = node.previousElementSibling;
      const isLate = node.closest("[data-state]")?.dataset.state === "late"; // after a gap of the hub its time may run anew
      const kind = !down || (now() < late && !isLate) ? "nextLate" : now() < down ? "nextDown" : "nextPast";
      const until = kind === "nextLate" ? late : down;
      set(label, body.dataset[kind]);
      set(node, until ? span(Math.abs(until - now())) : "–");
    }
    for (const node of all("[data-since]")) set(node, span(now() - Date.parse(node.dataset.since)));
    const stale = document.getElementById("stale");
    const silent = performance.now() - heard;
    const isStale = "live" in body.dataset && (silent > SILENT_MS || tries > 1);
    if (isStale && stale.hidden) stale.textContent = stale.dataset.text.replace("{time}", clock.format(new Date(now() - silent)));
    stale.hidden = !isStale;
    body.classList.toggle("is-stale", isStale);
  };

  // ---- the tab

  const title = document.title;
  const tab = () => {
    const standing = document.getElementById("standing");
    if (!standing) return;
    document.title = standing.dataset.title ? `${standing.dataset.title} · ${title}` : title;
    const icon = document.getElementById("icon");
    const wanted = icon.dataset[standing.dataset.icon];
    if (icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
  };

  // ---- what is pushed

  const KEPT = new Set(["open", "value", "checked", "aria-label", "title"]); // is the viewer's, or made here
  const show = (message) => {
    const { name, mark, html } = message;
    const place = document.querySelector(`[data-live="${name}"]`);
    if (!place) return;
    if (!place.dispatchEvent(new CustomEvent("coming", { bubbles: true, cancelable: true, detail: message }))) return;
    Idiomorph.morph(place, html, {
      morphStyle: "innerHTML",
      ignoreActiveValue: document.activeElement?.matches("input, textarea, select"), // it would keep the label of a button that became another
      callbacks: { beforeAttributeUpdated: (attribute, node, change) => !(change === "remove" && KEPT.has(attribute) && node !== place) },
    });
    place.dataset.mark = mark;
    local(place);
    readBeats();
    tick();
    tab();
    place.dispatchEvent(new CustomEvent("shown", { bubbles: true }));
  };
  addEventListener("come", ({ detail }) => show(detail)); // what was held back
  // Hubs of two versions behind one address: whoever loads the page from one may hear from the other, and stays calm.
  const isFilled = (field) => field.value !== field.defaultValue || field.checked !== field.defaultChecked;
  const isInUse = () => document.activeElement?.matches("input, textarea, select") || [...all("input, textarea")].some(isFilled);
  const reload = () => {
    if (Math.abs(Date.now() - Number(sessionStorage.getItem("reloaded"))) < RELOAD_MS) return;
    sessionStorage.setItem("reloaded", Date.now());
    location.reload();
  };
  let source = null, isResting = false, isOld = false;
  const renew = () => { if (isOld && !isInUse()) reload(); };
  const connect = () => {
    source?.close();
    isResting = false;
    const have = [...all("[data-live]")].filter((n) => n.dataset.mark).map((n) => `${n.dataset.live}:${n.dataset.mark}`).join(",");
    const query = new URLSearchParams(location.search);
    query.set("have", have);
    const path = location.pathname === "/" ? "" : location.pathname;
    source = new EventSource(`/live${path}?${query}`);
    const on = (type, act) => source.addEventListener(type, (event) => { heard = performance.now(); tries = 0; act(JSON.parse(event.data)); share(); });
    on("hello", ({ version, now: at }) => { ahead = at - Date.now(); isOld = version !== body.dataset.version; renew(); tick(); });
    on("alive", (at) => { ahead = at - Date.now(); tick(); });
    on("fragment", show);
    on("over", () => { source.close(); location.reload(); });
    source.onerror = () => { if (!isResting) { source.close(); again(); tick(); } };
  };
  let waiting = 0;
  const again = () => {
    clearTimeout(waiting);
    waiting = setTimeout(connect, AGAIN_MS[Math.min(tries++, AGAIN_MS.length - 1)] * (0.8 + Math.random() * 0.4));
  };

  // Browsers keep six connections to a hub: a hidden tab whose place another one takes has none, and hears from that one.
  const tabs = new BroadcastChannel("understudy"), me = Math.random();
  let other = { at: -Infinity }, shared = "", sharedAt = 0;
  const share = () => {
    const standing = document.getElementById("standing")?.outerHTML;
    if (standing === shared && performance.now() - sharedAt < 4000) return;
    shared = standing;
    sharedAt = performance.now();
    tabs.postMessage({ me, isHidden: document.hidden, standing });
  };
  tabs.onmessage = ({ data }) => {
    other = { at: performance.now(), mayRest: !data.isHidden || data.me < me };
    if (!isResting) return;
    heard = other.at;
    const standing = document.getElementById("standing");
    if (standing && data.standing) { Idiomorph.morph(standing, data.standing); tab(); }
  };
  const rest = () => {
    const mayRest = document.hidden && other.mayRest && performance.now() - other.at < SILENT_MS;
    if (mayRest && !isResting) { isResting = true; clearTimeout(waiting); source?.close(); } else if (!mayRest && isResting) connect();
  };
  const lookAgain = () => { if ("live" in body.dataset && !isResting && performance.now() - heard > SILENT_MS) { tries = 0; again(); } };

  // ---- acts: the same form without this file

  const said = document.getElementById("said"), WHY = { 403: "forbidden", 404: "gone", 409: "conflict" };
  const say = (text) => { said.textContent = text; setTimeout(() => { if (said.textContent === text) said.textContent = ""; }, 6000); };
  addEventListener("submit", async (event) => {
    const form = event.target, button = event.submitter;
    if (button?.dataset.confirm && !confirm(button.dataset.confirm)) { event.preventDefault(); return; }
    if (form.id !== "act" || !button || "plain" in button.dataset) return;
    event.preventDefault();
    button.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(button.formAction, { method: "POST", body: new URLSearchParams(new FormData(form, button)), headers: { "X-Requested-With": "fetch" } });
      if (answer.redirected) location.reload(); // to the login
      else say(answer.ok ? said.dataset.done : said.dataset[WHY[answer.status]] ?? said.dataset.failed);
    } catch { say(said.dataset.failed); }
    button.removeAttribute("aria-busy");
  });

  // ---- bars, by pointer and keyboard

  const caption = (part, text) => { const output = part.closest("figure")?.querySelector(".caption"); if (output) set(output, text); };
  for (const [type, isIn] of [["pointerover", true], ["focusin", true], ["pointerout", false], ["focusout", false]]) {
    addEventListener(type, ({ target }) => { if (target.matches?.("rect[data-from]")) caption(target, isIn ? target.getAttribute("aria-label") : ""); });
  }
  addEventListener("keydown", (event) => {
    const part = event.target;
    const step = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
    if (!step || !part.matches?.("rect[data-from]") || !part[step]) return;
    event.preventDefault();
    part.tabIndex = -1;
    part[step].tabIndex = 0;
    part[step].focus();
  });

  const here = document.querySelector("nav [aria-current]");
  if (here) here.closest("nav").scrollLeft = here.offsetLeft - (innerWidth - here.offsetWidth) / 2;
  local(document);
  readBeats();
  tick();
  tab();
  setInterval(tick, 1000);
  if ("live" in body.dataset) {
    connect();
    setInterval(() => { rest(); lookAgain(); renew(); }, 3000);
    addEventListener("online", lookAgain);
    addEventListener("visibilitychange", () => { rest(); if (!document.hidden) lookAgain(); });
  }
})();
