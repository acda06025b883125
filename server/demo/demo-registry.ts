/**
 * A small registry over an OCI image layout, on loopback: for demonstrations and tests, not for use. It counts what it sends, and takes
 * pushes where an option asks for it.
 */
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { isRecord } from '../../base/is-record.ts';
import { contentRange, parseRange } from '../agent/client-range.ts';
import { type NotificationEndpoint, PushedImages } from './pushed-images.ts';

/** Options of the registry. */
export interface DemoRegistryOptions {
  /** The layout's folder. */
  readonly layout: string;
  /** Asks for this Basic credential (`user:password`) where given. */
  readonly login?: string;
  /** Most bytes a second over all connections. */
  readonly bytesPerSecond?: number;
  /** Takes pushes; only what was pushed has a tag then. */
  readonly writable?: boolean;
}

/** A running registry. */
export interface DemoRegistry {
  /** `127.0.0.1:port`. */
  readonly host: string;
  /** Bytes of blobs sent since the start. */
  readonly blobBytes: () => number;
  /** Requests since the start, by `METHOD kind`. */
  readonly requests: ReadonlyMap<string, number>;
  /** Answers every request with this status from now on; undefined: as usual. */
  fail(status: number | undefined): void;
  /** Lets in this credential alone from now on. */
  setLogin(login: string): void;
  /** Sends notifications of pushes there from now on. */
  notify(endpoint: NotificationEndpoint): void;
  close(): Promise<void>;
}

/** Starts a registry on a free port of loopback. Rejects for a folder that is no layout. */
export async function startDemoRegistry(options: DemoRegistryOptions): Promise<DemoRegistry> {
  const index: unknown = JSON.parse(await readFile(join(options.layout, 'index.json'), 'utf8'));
  const manifests = isRecord(index) && Array.isArray(index.manifests) ? index.manifests.filter(isRecord) : [];
  const requests = new Map<string, number>();
  const pushed = options.writable === true ? new PushedImages(options.layout) : undefined;
  let sent = 0;
  let failing: number | undefined;
  let login = options.login;
  let free = performance.now();
  const pace = async (bytes: number) => {
    if (options.bytesPerSecond === undefined) return;
    free = Math.max(free, performance.now()) + (bytes / options.bytesPerSecond) * 1000;
    await new Promise((resolve) => setTimeout(resolve, Math.max(1, free - performance.now())));
  };
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '', 'http://registry');
    const match = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url.pathname);
    const kind = `${request.method} ${match?.[2] ?? url.pathname}`;
    requests.set(kind, (requests.get(kind) ?? 0) + 1);
    if (failing !== undefined) return plain(response, failing);
    if (login !== undefined && request.headers.authorization !== `Basic ${Buffer.from(login).toString('base64')}`) {
      response.setHeader('www-authenticate', 'Basic realm="demo"');
      return plain(response, 401);
    }
    if (url.pathname === '/v2/') return plain(response, 200);
    if (await pushed?.answer({ request, response, url })) return;
    if (match === null) return plain(response, 404);
    if (request.method !== 'GET' && request.method !== 'HEAD') return plain(response, 405);
    const [, repository = '', section, reference = ''] = match;
    const named = manifests.find(
      ({ digest, annotations }) =>
        digest === reference ||
        (isRecord(annotations) && annotations['org.opencontainers.image.ref.name'] === reference),
    );
    const known = pushed === undefined ? named && String(named.digest) : pushed.find(repository, reference);
    const digest = section === 'manifests' ? (known ?? (pushed === undefined ? reference : '')) : reference;
    if (!/^sha256:[0-9a-f]{64}$/.test(digest)) return plain(response, 404);
    const path = join(options.layout, 'blobs', digest.replace(':', '/'));
    const facts = await stat(path).catch(() => undefined);
    if (facts === undefined) return plain(response, 404);
    const type = section === 'manifests' ? await mediaTypeOf(path) : 'application/octet-stream';
    const range = section === 'blobs' ? parseRange(request.headers.range, facts.size) : undefined;
    if (range === 'unsatisfiable') return plain(response, 416);
    const { start, end } = range ?? { start: 0, end: facts.size };
    response.writeHead(range === undefined ? 200 : 206, {
      'content-type': type,
      'content-length': end - start,
      'docker-content-digest': digest,
      ...(range === undefined ? {} : { 'content-range': contentRange(range, facts.size) }),
    });
    if (request.method === 'HEAD' || end === start) return void response.end();
    for await (const chunk of createReadStream(path, { start, end: end - 1, highWaterMark: 256 * 1024 })) {
      await pace((chunk as Buffer).length);
      if (response.destroyed) return;
      if (section === 'blobs') sent += (chunk as Buffer).length;
      if (!response.write(chunk))
        await new Promise<void>((resolve) => {
          const go = (): void => {
            response.off('drain', go).off('close', go);
            resolve();
          };
          response.on('drain', go).on('close', go);
        });
    }
    response.end();
  };
  const server = http.createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    blobBytes: () => sent,
    requests,
    fail: (status) => {
      failing = status;
    },
    setLogin: (next) => {
      login = next;
    },
    notify: (endpoint) => {
      if (pushed !== undefined) pushed.endpoint = endpoint;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function mediaTypeOf(path: string): Promise<string> {
  const document: unknown = JSON.parse(await readFile(path, 'utf8'));
  if (isRecord(document) && typeof document.mediaType === 'string') return document.mediaType;
  const kind = isRecord(document) && Array.isArray(document.manifests) ? 'index' : 'manifest';
  return `application/vnd.oci.image.${kind}.v1+json`;
}

function plain(response: ServerResponse, status: number): void {
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': 2 }).end('{}');
}
