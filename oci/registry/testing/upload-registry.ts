/** A registry that accepts uploads by the distribution-spec's rules, and breaks them on request. Tests only. */
import { digestOf } from '../../digest.ts';
import type { Answer, Script, SeenRequest } from './scripted-server.ts';
import { missing } from './scripted-target.ts';

/** Deviations of the registry that a test chooses. */
export interface UploadQuirks {
  /** An answer in place of the usual one; the bytes of the request are not taken. Undefined: as usual. */
  readonly instead?: (request: SeenRequest, count: number) => Answer | undefined;
  /** An answer in place of the usual one after the request's bytes were taken (`body` as it was sent). */
  readonly afterwards?: (request: SeenRequest, count: number) => Answer | undefined;
  /** Bytes of a PATCH that are kept; all by default. */
  readonly keeps?: (request: SeenRequest, count: number) => number;
  /** Headers of the answer to POST beside the Location. */
  readonly post?: Readonly<Record<string, string>>;
  /** Whether GET on a session reports its progress; true by default. */
  readonly tellsProgress?: boolean;
}

/** The content of the registry. */
export interface UploadStore {
  readonly blobs: Map<string, Buffer>;
  /** Bytes of the sessions that are open. */
  readonly sessions: Map<string, Buffer>;
}

/** The script; `count` of a quirk counts the requests of one method, from 1. */
export function uploadRegistry(quirks: UploadQuirks = {}): { readonly script: Script; readonly store: UploadStore } {
  const store: UploadStore = { blobs: new Map(), sessions: new Map() };
  let sessions = 0;
  const script: Script = (request, seen) => {
    const count = seen.filter(({ method }) => method === request.method).length;
    const url = new URL(request.url, 'http://x');
    const id = url.pathname.split('/').at(-1) ?? '';
    const instead = quirks.instead?.(request, count);
    if (instead !== undefined) return instead;
    if (request.method === 'HEAD') {
      const size = store.blobs.get(id)?.length;
      return size === undefined ? missing : { headers: { 'content-length': String(size) } };
    }
    if (request.method === 'POST') {
      sessions += 1;
      store.sessions.set(`s${sessions}`, Buffer.alloc(0));
      return { status: 202, headers: { location: place(`s${sessions}`, 0), range: '0-0', ...quirks.post } };
    }
    const held = store.sessions.get(id);
    if (held === undefined) return { status: 404, body: '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}' };
    if (request.method === 'DELETE') {
      store.sessions.delete(id);
      return { status: 204 };
    }
    if (request.method === 'GET') {
      return quirks.tellsProgress === false ? { status: 405 } : { status: 204, headers: progress(id, held.length) };
    }
    const range = request.headers['content-range'];
    const start = Number(/^(\d+)-\d+$/.exec(range ?? '')?.[1] ?? 0);
    if (range !== undefined && start !== held.length) return { status: 416, headers: progress(id, held.length) };
    const kept = quirks.keeps?.(request, count) ?? request.body.length;
    const now = Buffer.concat([held, request.body.subarray(0, kept)]);
    store.sessions.set(id, now);
    if (request.method === 'PATCH') {
      return quirks.afterwards?.(request, count) ?? { status: 202, headers: progress(id, now.length) };
    }
    const wanted = url.searchParams.get('digest') ?? '';
    if (digestOf(now) !== wanted) return { status: 400, body: '{"errors":[{"code":"DIGEST_INVALID"}]}' };
    store.sessions.delete(id);
    store.blobs.set(wanted, now);
    return quirks.afterwards?.(request, count) ?? { status: 201 };
  };
  return { script, store };
}

function place(id: string, step: number): string {
  return `/v2/app/blobs/uploads/${id}?_state=${step}%2F`;
}

/** As docker-registry has it: 0-0 stands for nothing. */
function progress(id: string, size: number): Record<string, string> {
  return { location: place(id, size), range: `0-${Math.max(size - 1, 0)}` };
}
