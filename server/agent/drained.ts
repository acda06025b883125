/** Backpressure of clients, with a deadline. */
import type { ServerResponse } from 'node:http';

/** Milliseconds for which a client may take no byte: longer than a runtime pauses to unpack, and not for ever. */
const PATIENCE = 300_000;

/** Resolves when a response takes more bytes, or its connection has gone. A client that takes none for five minutes is cut off. */
export function drained(response: ServerResponse, patience = PATIENCE): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => response.destroy(), patience).unref();
    const done = () => {
      clearTimeout(timer);
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
    if (response.destroyed) done();
  });
}
