/** What a caller may say about the way to a registry. */

/** Options of a registry client; all may be left out. */
export interface RegistryOptions {
  /** User for this registry; without it the credentials of Docker's and podman's files are used. */
  readonly username?: string;
  /** Password or token of `username`; may hold any character. */
  readonly password?: string;
  /** What messages call the place that `username` comes from: a flag, an input, a variable. */
  readonly credentialsFrom?: string;
  /** Speak plain HTTP. Without it only a registry on a loopback address may, after a warning. */
  readonly plain?: boolean;
  /** Accept any TLS certificate, with a warning. */
  readonly insecure?: boolean;
  /** PEM files with certificate authorities to trust beside the system's. */
  readonly rootCa?: string | readonly string[];
  /** Directories in Docker's `certs.d` form: `*.crt` are authorities, `*.cert` with `*.key` client certificates. */
  readonly certDir?: string | readonly string[];
  /** Client certificate as `CERT:KEY`, two PEM files. */
  readonly clientCert?: string | readonly string[];
  /**
   * Send blobs in requests of at most this many bytes (at least 2), where the registry or a proxy refuses larger ones;
   * omitted: a blob in one request. A registry that asks for larger chunks (OCI-Chunk-Min-Length) gets them.
   */
  readonly chunkSize?: number;
  /** Hears what a user should know though nothing failed, as one line each. */
  readonly warn?: (message: string) => void;
  /** Environment for credential files, helpers and proxies; omitted: the process's. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Surroundings that tests replace. */
  readonly runtime?: Partial<RegistryRuntime>;
}

/** Clock, randomness and patience. */
export interface RegistryRuntime {
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
  /** Milliseconds to connect. */
  readonly connectTimeout: number;
  /** Milliseconds without a byte in either direction before a request counts as stalled. */
  readonly stallTimeout: number;
  /** Milliseconds for a registry to answer once it has all of an upload: it may copy and hash the blob first. */
  readonly commitTimeout: number;
}

/** The real surroundings. */
export const DEFAULT_RUNTIME: RegistryRuntime = {
  now: Date.now,
  random: Math.random,
  sleep,
  attempts: 8,
  connectTimeout: 15_000,
  stallTimeout: 60_000,
  commitTimeout: 300_000,
};

/** Splits `user[:password]`; only the first colon separates. */
export function parseUser(text: string): { readonly username: string; readonly password?: string } {
  const colon = text.indexOf(':');
  return colon < 0 ? { username: text } : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const end = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', end);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', end, { once: true });
  });
}
