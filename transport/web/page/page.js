"use strict";
(() => {
  const live = document.getElementById("live");
  const events = new EventSource("events");
  const say = (text, tone) => { live.textContent = text; live.className = tone; };
  say("connecting", "");
  events.onopen = () => say("live", "good");
  events.onerror = () => say("connection lost at " + new Date().toLocaleTimeString() + ", trying again", "bad");
  events.addEventListener("page", (event) => {
    const next = new DOMParser().parseFromString(event.data, "text/html");
    // Only what changed is replaced: a selection, and what is being read out, stay.
    for (const fresh of next.querySelectorAll("[data-part]")) {
      const now = document.getElementById(fresh.id);
      if (now.className !== fresh.className) now.className = fresh.className;
      if (now.innerHTML !== fresh.innerHTML) now.innerHTML = fresh.innerHTML;
    }
    document.title = next.querySelector("[data-title]").dataset.title;
  });
})();
