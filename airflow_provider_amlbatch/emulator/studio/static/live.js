// Keeps a page current: fetches it again and puts its live part in place of the old one. Without it, the page is
// as it was when it was opened.
"use strict";
(() => {
  const live = () => document.getElementById("live");
  const refresh = async () => {
    const seconds = Number(live()?.dataset.refresh || 0);
    if (!seconds) return;
    if (!document.hidden && !document.getSelection().toString()) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.getElementById("live");
          document.querySelectorAll("#live details[id]").forEach((old) => {
            const now = fresh.querySelector("#" + CSS.escape(old.id));
            if (now) now.open = old.open;
          });
          live().replaceWith(document.adoptNode(fresh));
          document.title = page.title;
          document.body.classList.remove("stale");
        }
      } catch {
        document.body.classList.add("stale");
      }
    }
    setTimeout(refresh, seconds * 1000);
  };
  setTimeout(refresh, Number(live()?.dataset.refresh || 0) * 1000);
})();
