/** Options for the connection to a server, and every default of the room. */
import { setTimeout } from 'node:timers/promises';
import type { HttpTrace } from './http-trace.ts';
import type { Throttle } from './throttle.ts';

/** Options of an HTTP client; all may be left out. */
export interface HttpOptions {
  /** Speak plain HTTP. Without it only a server on a loopback address may, after a warning. */
  readonly plain?: boolean;
  /** Accept any TLS certificate, with a warning. */
  readonly insecure?: boolean;
  /** PEM files with certificate authorities to trust beside the system's. */
  readonly rootCa?: string | readonly string[];
  /** Directories in Docker's `certs.d` form: `*.crt` are authorities, `*.cert` with `*.key` client certificates. */
  readonly certDir?: string | readonly string[];
  /** Client certificate as `CERT:KEY`, two PEM files. */
  readonly clientCert?: string | readonly string[];
  /** Certificates as PEM text, in place of all files and of the system's authorities: for a server with an authority of its own. */
  readonly pem?: PemTexts;
  /** Bytes a second that a blob must move on average over a minute; 0: no limit. {@link DEFAULT_MIN_RATE}. */
  readonly minRate?: number;
  /** Milliseconds that one request may wait where a server asks for it (HTTP 429, 503). {@link DEFAULT_MAX_WAIT}. */
  readonly maxWait?: number;
  /** Bounds on requests and bytes, shared by every connection that is given the same object; omitted: no bounds. */
  readonly throttle?: Throttle;
  /** Called with each warning, one line of text. */
  readonly warn?: (message: string) => void;
  /** Called for every request once its answer was read; the record has no secrets. */
  readonly trace?: (record: HttpTrace) => void;
  /** Environment for credential files, helpers, proxies and certificates; omitted: the process's. */
  readonly env?: Environment;
  /** Surroundings that tests replace. */
  readonly runtime?: Partial<HttpRuntime>;
}

/** PEM texts: whom to trust (omitted: the system's authorities), and a client certificate with its key. */
export interface PemTexts {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Environment variables. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Default of {@link HttpOptions.minRate}, in bytes a second. */
export const DEFAULT_MIN_RATE = 1024;

/** Default of {@link HttpOptions.maxWait}, in milliseconds. */
export const DEFAULT_MAX_WAIT = 120_000;

/** Clock, randomness and patience. */
export interface HttpRuntime {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** A number in [0, 1): spreads retries. */
  readonly random: () => number;
  /** Waits `milliseconds`, or rejects with the signal's reason. */
  readonly sleep: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
  /**
   * Tries of one request, the first included. The default of eight takes about 15 seconds: longer than a registry takes
   * to restart, and where each try fails three times of ten, one request of 15,000 is lost.
   */
  readonly attempts: number;
  /** Tries of one request that end by a deadline: each of them has cost a minute or more. */
  readonly slowAttempts: number;
  /** Milliseconds to connect. */
  readonly connectTimeout: number;
  /**
   * Milliseconds without a byte in either direction before a request counts as stalled; also to the whole of a header.
   */
  readonly stallTimeout: number;
  /** Milliseconds for a server to answer once it has all of an upload: it may copy and hash the blob first. */
  readonly commitTimeout: number;
  /** Milliseconds for the whole of a document: a manifest, a token, a list. */
  readonly documentTimeout: number;
  /** Milliseconds over which the rate of a blob is averaged. */
  readonly rateWindow: number;
  /** Bytes that a resumed download must bring to count as progress. */
  readonly leastProgress: number;
}

/** The real surroundings. */
export const DEFAULT_RUNTIME: HttpRuntime = {
  now: Date.now,
  random: Math.random,
  sleep: async (milliseconds, signal) => {
    await setTimeout(milliseconds, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw error;
    });
  },
  attempts: 8,
  slowAttempts: 2,
  connectTimeout: 15_000,
  stallTimeout: 60_000,
  commitTimeout: 300_000,
  documentTimeout: 120_000,
  rateWindow: 60_000,
  leastProgress: 65_536,
};
