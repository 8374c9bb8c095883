// kafkapipe.js sends events of a page to a POST route of the collector: in batches, also when the page is left.
//
//   const k = new KafkaPipe("/events/clicks", { batch: 20, linger: 1000 });
//   k.send({ button: "buy" });      // the event's id; null when the queue is full
//   await k.flush();                // no event waits any more
//
// Each event has an event_id, by which the collector knows one that is sent again.
"use strict";
{
  const DEFAULTS = {
    batch: 20, // events in a request; it has at most 60,000 bytes, too
    linger: 1000, // ms that the first event of a batch waits for others
    queue: 1000, // events that wait; with more, send() answers null
    store: false, // keep what waits in sessionStorage when the page is left, and send it again when it is back
    id: "event_id", // name of the field with the id, "" for none
    headers: {}, // of each request, such as a write key
    retry: [500, 30000], // ms: first and longest wait before sending again, doubled, at random below that
    refused: (event, reason) => console.warn("kafkapipe: refused:", reason, event), // will never be taken
  };
  const MAX_BYTES = 60000; // browsers let 64 KiB go out after the end of a page

  globalThis.KafkaPipe = class KafkaPipe {
    #url; #options; #queue = []; #sending = 0; #timer = 0; #failures = 0; #waiters = [];

    constructor(url, options = {}) {
      this.#url = new URL(url, document.baseURI).href;
      this.#options = { ...DEFAULTS, ...options };
      new Headers(this.#options.headers); // throws what every request would
      if (this.#options.store) this.#recall();
      addEventListener("pagehide", () => this.#leave());
      addEventListener("online", () => this.#start(0));
      document.addEventListener("visibilitychange", () => document.hidden && !this.#failures && this.#send());
    }

    /** Number of events without an answer. */
    get waiting() { return this.#queue.length; }

    send(event) {
      const { queue, id: name, batch, linger } = this.#options;
      if (this.#queue.length >= queue) return null;
      const id = event[name] ?? uuid();
      this.#queue.push(JSON.stringify(name ? { ...event, [name]: id } : event));
      if (!this.#failures) this.#start(this.#queue.length - this.#sending >= batch ? 0 : linger);
      return id;
    }

    flush() {
      if (!this.#queue.length) return Promise.resolve();
      if (!this.#failures) this.#start(0);
      return new Promise((resolve) => this.#waiters.push(resolve));
    }

    #start(wait) {
      if (this.#timer && wait) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#send(), wait);
    }

    async #send() {
      if (this.#sending || !this.#queue.length) return;
      clearTimeout(this.#timer);
      this.#timer = 0;
      const lines = this.#next(0);
      this.#sending = lines.length;
      const [left, wait] = await this.#post(lines);
      this.#queue.splice(0, lines.length, ...left);
      this.#sending = 0;
      if (!this.#queue.length) this.#waiters.splice(0).forEach((resolve) => resolve());
      else if (this.#failures) this.#start(wait);
      else this.#start(left.length || this.#waiters.length || this.#queue.length >= this.#options.batch ? 0 : this.#options.linger);
    }

    /** The lines of one request. */
    #next(from) {
      let bytes = 0, end = from;
      while (end < this.#queue.length && end - from < this.#options.batch) {
        bytes += size(this.#queue[end]) + 1;
        if (bytes > MAX_BYTES && end > from) break;
        end++;
      }
      return this.#queue.slice(from, end);
    }

    /** Which lines are to be sent again, and after how many ms. */
    async #post(lines) {
      let status = 0, after = null, told = {};
      try {
        const answer = await fetch(this.#url, this.#request(lines, AbortSignal.timeout(30000)));
        status = answer.status;
        after = answer.headers.get("Retry-After");
        if (!answer.ok) told = await answer.json();
      } catch { /* no network, or no JSON: the status tells enough */ }
      const bad = new Map((told.rejected ?? []).map(({ index, reason }) => [index, reason]));
      if (status < 400 || status === 408 || status === 425 || status === 429 || status >= 500) {
        this.#failures = status >= 200 && status < 300 ? 0 : this.#failures + 1;
        if (!this.#failures) return [[], 0];
        return [bad.size ? lines.filter((_, index) => bad.has(index)) : lines, this.#wait(after)];
      }
      this.#failures = 0;
      return [this.#sort(lines, bad, status, told), 0];
    }

    #request(lines, signal) {
      const body = lines.join("\n");
      const headers = { "Content-Type": "text/plain;charset=UTF-8", ...this.#options.headers }; // needs no preflight
      return { method: "POST", body, headers, signal, keepalive: size(body) <= MAX_BYTES, credentials: "omit" };
    }

    /** What of a refused batch is worth sending again. */
    #sort(lines, bad, status, told) {
      if (!bad.size && status === 413 && lines.length > 1) { // the batch is too large, its events need not be
        this.#options.batch = Math.ceil(lines.length / 2);
        return lines;
      }
      if (!bad.size) lines.forEach((_, index) => bad.set(index, told.detail ?? `HTTP ${status}`));
      for (const [index, reason] of bad) this.#options.refused(JSON.parse(lines[index]), reason);
      return told.accepted ? [] : lines.filter((_, index) => !bad.has(index));
    }

    #wait(after) {
      const [first, longest] = this.#options.retry;
      const told = after > 0 ? after * 1000 : Date.parse(after) - Date.now(); // seconds or a date
      return Math.max(told || 0, 0) + Math.random() * Math.min(longest, first * 2 ** (this.#failures - 1));
    }

    /** The page is being left: beacons for what is not on its way. */
    #leave() {
      if (this.#options.store) this.#keep();
      let at = this.#sending;
      for (let lines; (lines = this.#next(at)).length; at += lines.length) {
        if (Object.keys(this.#options.headers).length) fetch(this.#url, this.#request(lines)).catch(() => {});
        else if (!navigator.sendBeacon(this.#url, lines.join("\n"))) break;
      }
      if (!this.#options.store) this.#queue.splice(this.#sending, at - this.#sending);
    }

    get #key() { return `kafkapipe ${this.#url}`; }

    #keep() {
      try { sessionStorage.setItem(this.#key, JSON.stringify(this.#queue)); } catch { /* forbidden or full */ }
    }

    #recall() {
      try {
        this.#queue = JSON.parse(sessionStorage.getItem(this.#key)) ?? [];
        sessionStorage.removeItem(this.#key);
      } catch { /* forbidden */ }
      if (this.#queue.length) this.#start(0);
    }
  };

  const size = (text) => new Blob([text]).size;

  const uuid = () => crypto.randomUUID?.() ?? // which is there on https and localhost alone
    "xxxxxxxx-xxxx-4xxx-axxx-xxxxxxxxxxxx".replace(/x/g, () => (crypto.getRandomValues(new Uint8Array(1))[0] & 15).toString(16));
}
