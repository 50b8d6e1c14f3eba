/* Pages that keep themselves up to date. Without this file everything works, and is as old as the page. */
"use strict";

(() => {
  const FASTEST = 250;
  const SLOWEST = 15000;
  const OVER = [401, 403, 404];

  /* One part of a page that is asked for again and again: ever more slowly while it stays as it is, not at all
     while nobody looks, and no more when it is final or the session is over. */
  class Live {
    constructor(element) {
      this.element = element;
      this.url = element.dataset.url;
      this.etag = element.dataset.etag || "";
      this.fastest = element.dataset.poll ? Math.max(Number(element.dataset.poll) || 0, FASTEST) : 0;
      this.pause = this.fastest;
      this.timer = 0;
      this.isOver = !this.fastest;
      this.voice = document.createElement("p");
      this.voice.className = "workflow-unseen";
      this.voice.setAttribute("role", "status");
      element.after(this.voice);
      element.addEventListener("click", (event) => this.toggle(event));
      document.addEventListener("visibilitychange", () => this.lookSoon());
      this.wait();
    }

    wait() {
      clearTimeout(this.timer);
      if (!this.isOver && !document.hidden) {
        this.timer = setTimeout(() => this.look(), this.pause);
      }
    }

    lookSoon() {
      this.pause = this.fastest;
      this.wait();
    }

    async look() {
      clearTimeout(this.timer);
      let answer;
      try {
        answer = await fetch(this.address(), {
          headers: { "If-None-Match": this.etag, "X-Requested-With": "XMLHttpRequest" },
          credentials: "same-origin",
          redirect: "manual",
          cache: "no-store",
        });
        await this.take(answer);
      } catch (error) {
        this.slowDown();
      }
      this.wait();
    }

    async take(answer) {
      if (answer.status === 200) {
        this.replace(await answer.text());
        this.etag = answer.headers.get("ETag") || "";
        this.pause = this.fastest;
      } else if (OVER.includes(answer.status) || answer.type === "opaqueredirect") {
        this.isOver = true;
        this.tellOver();
      } else {
        this.slowDown();
      }
      if (answer.headers.get("X-Workflow-Final") === "1") {
        this.isOver = true;
      }
    }

    slowDown() {
      this.pause = Math.min(this.pause * 1.5, SLOWEST);
    }

    address() {
      const open = new URLSearchParams(window.location.search).get("open");
      return open === null ? this.url : `${this.url}?open=${encodeURIComponent(open)}`;
    }

    /* What is open, focused and scrolled stays so: by its id. */
    replace(html) {
      const opened = new Map();
      for (const each of this.element.querySelectorAll("details[id]")) {
        opened.set(each.id, each.open);
      }
      const scrolled = [...this.element.querySelectorAll(".workflow-scroll[id]")].map((each) => [each.id, each.scrollLeft]);
      const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
      const place = focused && (focused.id || (focused.closest("[id]") || {}).id);
      const inside = focused && focused.tagName;
      this.element.innerHTML = html;
      for (const [id, isOpen] of opened) {
        const found = document.getElementById(id);
        if (found) {
          found.open = isOpen;
        }
      }
      for (const [id, left] of scrolled) {
        const found = document.getElementById(id);
        if (found) {
          found.scrollLeft = left;
        }
      }
      const again = place && document.getElementById(place);
      if (again) {
        const target = focused.id ? again : again.querySelector(inside) || again;
        target.focus({ preventScroll: true });
      }
      this.tell();
      tellTimes(this.element);
    }

    tell() {
      const said = this.element.querySelector("[data-say]");
      if (said && this.voice.textContent !== said.textContent) {
        this.voice.textContent = said.textContent;
      }
    }

    tellOver() {
      if (this.element.dataset.over) {
        const text = document.createElement("p");
        text.className = "workflow-over";
        text.setAttribute("role", "alert");
        text.textContent = this.element.dataset.over;
        this.element.prepend(text);
      }
    }

    /* A step run is opened in place; without a script its link does so with the whole page. */
    async toggle(event) {
      const link = event.target.closest('a[href^="?open="]');
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) {
        return;
      }
      event.preventDefault();
      const address = new URL(link.getAttribute("href"), window.location.href);
      const isRow = link.classList.contains("workflow-open");
      window.history.replaceState(null, "", address.pathname + address.search);
      this.etag = "";
      await this.look();
      // From a picture it is some way to the row.
      const row = !isRow && address.hash && document.getElementById(address.hash.slice(1));
      if (row) {
        row.scrollIntoView({ block: "center" });
        row.querySelector(".workflow-open").focus({ preventScroll: true });
      }
    }
  }

  /* Times a moment ago are told so; the title has them in full. */
  function tellTimes(root) {
    const words = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });
    for (const each of root.querySelectorAll("time[datetime]")) {
      const seconds = Math.round((new Date(each.dateTime) - Date.now()) / 1000);
      const size = Math.abs(seconds);
      if (size < 60) {
        each.textContent = words.format(seconds, "second");
      } else if (size < 3600) {
        each.textContent = words.format(Math.round(seconds / 60), "minute");
      } else if (size < 86400) {
        each.textContent = words.format(Math.round(seconds / 3600), "hour");
      }
    }
  }

  function begin() {
    for (const each of document.querySelectorAll(".workflow-live[data-url]")) {
      new Live(each);
    }
    tellTimes(document);
    setInterval(() => document.hidden || tellTimes(document), 10000);
  }

  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", begin);
  } else {
    begin();
  }
})();
