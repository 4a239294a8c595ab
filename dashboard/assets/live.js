// Keeps a page current: takes the fragments that the server sends and puts them in place of the old ones.
// The page is whole without this script; it then loads itself anew every few seconds.
"use strict";

(() => {
  const page = document.body;
  const connection = document.getElementById("connection");
  // The server is never silent for longer than two seconds.
  const SILENCE = 7000;
  const RETRY = 3000;
  let heard = performance.now();
  let source = null;
  let outline = null;

  // Makes `old` like `fresh`, touching only what differs: focus, scroll position and selection stay where they are.
  function morph(old, fresh) {
    const next = Array.from(fresh.childNodes);
    next.forEach((node, place) => {
      const present = old.childNodes[place];
      if (!present) {
        old.appendChild(document.importNode(node, true));
      } else if (present.nodeType !== node.nodeType || present.nodeName !== node.nodeName) {
        old.replaceChild(document.importNode(node, true), present);
      } else if (node.nodeType === Node.ELEMENT_NODE) {
        attributes(present, node);
        morph(present, node);
      } else if (present.nodeValue !== node.nodeValue) {
        present.nodeValue = node.nodeValue;
      }
    });
    while (old.childNodes.length > next.length) old.removeChild(old.lastChild);
  }

  function attributes(old, fresh) {
    // Whether a fold is open is the reader's business.
    const keep = (name) => old.nodeName === "DETAILS" && name === "open";
    for (const { name } of Array.from(old.attributes)) {
      if (!keep(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of Array.from(fresh.attributes)) {
      if (!keep(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  function place(key) {
    return Array.from(document.querySelectorAll("[data-fragment]")).find((element) => element.dataset.fragment === key);
  }

  function apply({ key, html }) {
    const old = place(key);
    if (!old) return;
    // An inert document: nothing in it runs, and names have been escaped where it was made.
    morph(old, new DOMParser().parseFromString(html, "text/html").body);
    age(old);
  }

  // Ages count on between two messages.
  function age(root) {
    for (const element of root.querySelectorAll("[data-age]")) element.since = performance.now() - Number(element.dataset.age) * 1000;
  }

  function words(seconds) {
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  }

  function tick() {
    const now = performance.now();
    for (const element of document.querySelectorAll("[data-age]")) {
      if (element.since !== undefined) element.textContent = words(Math.floor((now - element.since) / 1000));
    }
    const silent = now - heard;
    connection.hidden = silent < SILENCE;
    page.classList.toggle("silent", silent >= SILENCE);
    if (silent >= SILENCE) {
      connection.textContent = `No news from the dashboard for ${words(Math.floor(silent / 1000))}; trying again.`;
    }
  }

  function listen() {
    source = new EventSource(page.dataset.stream);
    const on = (name, handle) => source.addEventListener(name, (event) => {
      heard = performance.now();
      handle(event.data);
    });
    on("outline", (keys) => {
      // The first one may differ from the page only when something changed in between.
      if (keys !== (outline ?? page.dataset.outline)) location.reload();
      outline = keys;
    });
    on("fragment", (data) => apply(JSON.parse(data)));
    on("tick", (data) => {
      document.title = `${JSON.parse(data).title} · pg-migrator`;
    });
    source.addEventListener("error", () => {
      // The browser tries again by itself, except where it has given up.
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY);
    });
  }

  age(document);
  setInterval(tick, 1000);
  listen();
})();
