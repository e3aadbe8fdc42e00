// The connection: every request has one answer; a lost connection is made again until it is there.

export class Link {
  #socket = null;
  #waiting = new Map();
  #next = 1;
  #delay = 400;
  #opened;
  #lost;

  constructor({ opened, lost }) {
    this.#opened = opened;
    this.#lost = lost;
    this.#connect();
    addEventListener("online", () => this.#socket ?? this.#connect());
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  request(type, fields = {}) {
    if (!this.open) return Promise.reject(new Error("there is no connection to the program"));
    const id = this.#next++;
    this.#socket.send(JSON.stringify({ type, id, ...fields }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #connect() {
    const socket = new WebSocket(new URL("ws", import.meta.url).href.replace("http", "ws"));
    this.#socket = socket;
    socket.onopen = () => {
      this.#delay = 400;
      this.#opened();
    };
    socket.onmessage = (event) => {
      const answer = JSON.parse(event.data);
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (answer.type === "error") waiting?.reject(new Error(answer.message));
      else waiting?.resolve(answer);
    };
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      for (const { reject } of this.#waiting.values()) reject(new Error("the connection was lost"));
      this.#waiting.clear();
      this.#lost();
      setTimeout(() => this.#socket ?? this.#connect(), this.#delay);
      this.#delay = Math.min(this.#delay * 2, 4000);
    };
  }
}
