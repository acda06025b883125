/**
 * An agent of someone who owns a node: it has the node's certificate, says that it has every blob whole, and answers in bad
 * faith. `node lying-agent.js CONFIG MANNER DIGEST...`, a JSON file of the lab.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import https from 'node:https';
import { PIECE_BYTES } from '../../formats/piece-list/piece-list.ts';

/** The manners of a liar: random bytes with an invalid signature; never an answer; signs of life for ever; a byte a second. */
export type Manner = 'garbage' | 'silent' | 'waiting' | 'trickle';

interface Settings {
  readonly agent: {
    readonly advertise: string;
    readonly peers: {
      readonly static: readonly string[];
      readonly certificates: { readonly caFile: string; readonly certFile: string; readonly keyFile: string };
    };
  };
}

/** Milliseconds between two announcements. */
const ANNOUNCE_EVERY = 500;
/** Milliseconds between two bytes or signs of life: shortly before anyone would give up. */
const BEAT = 700;

const [, , path, manner, ...digests] = process.argv;
const { advertise: self, peers } = (JSON.parse(readFileSync(path!, 'utf8')) as Settings).agent;
const { caFile, certFile, keyFile } = peers.certificates;
const identity = { ca: readFileSync(caFile), cert: readFileSync(certFile), key: readFileSync(keyFile) };

https
  .createServer({ ...identity, requestCert: true }, (request, response) => {
    request.resume();
    response.on('error', () => undefined);
    if (request.method === 'POST') {
      response.end(JSON.stringify({ members: [[self, '']], holders: [[self, '']], ttl: 60 }));
      return;
    }
    lie(response);
  })
  .listen(Number(self.split(':').at(-1)), '0.0.0.0');
setInterval(announce, ANNOUNCE_EVERY);

function lie(response: ServerResponse): void {
  if (manner === 'garbage') {
    const headers = { 'content-length': PIECE_BYTES, 'x-accel-piece-size': PIECE_BYTES };
    response.writeHead(200, { ...headers, 'x-accel-attest': `1.holder.${'A'.repeat(20)}.AAAA.AAAA` });
    response.end(randomBytes(PIECE_BYTES));
    return;
  }
  if (manner === 'silent') return;
  if (manner === 'trickle')
    response.writeHead(200, { 'content-length': PIECE_BYTES, 'x-accel-piece-size': PIECE_BYTES });
  const timer = setInterval(() => {
    if (manner === 'waiting') response.writeProcessing();
    else response.write('x');
  }, BEAT);
  response.on('close', () => clearInterval(timer));
}

/** Says to every node that this one has all blobs whole: those that track them believe it, and all see that it lives. */
function announce(): void {
  for (const member of peers.static.map((entry) => entry.split(' ')[0]!)) {
    if (member === self) continue;
    for (const digest of digests) {
      const options = {
        ...identity,
        method: 'POST',
        headers: { 'x-accel-node': self },
        checkServerIdentity: () => undefined,
      };
      const request = https.request(`https://${member}/p2p/v1/swarm/${digest}`, options, (answer) => answer.resume());
      request.on('error', () => undefined);
      request.setTimeout(ANNOUNCE_EVERY, () => request.destroy());
      request.end(JSON.stringify({ id: self, zone: '', view: '', complete: true }));
    }
  }
}
