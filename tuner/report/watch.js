(() => {
  "use strict";
  const EVERY_MS = 3000, QUIET_MS = 8000;
  let used = 0;
  for (const kind of ["pointerdown", "pointermove", "wheel", "keydown", "touchmove"]) addEventListener(kind, () => { used = Date.now(); }, { passive: true });
  const gone = document.createElement("p");
  gone.className = "note";
  gone.textContent = "Not served any more: this is the page as it was last.";

  async function look() {
    try {
      const answer = await fetch("/version", { cache: "no-store" });
      gone.remove();
      if ((await answer.text()) !== version && !document.hidden && Date.now() - used > QUIET_MS) location.reload();
    } catch {
      document.querySelector("main").prepend(gone);
    }
  }
  setInterval(look, EVERY_MS);
})();
