/** Options of a registry client beside those of the connection. */
import type { HttpOptions } from '../../http/http-options.ts';
import type { SharedConnections } from './shared-connections.ts';

/** Options of a registry client; all may be left out. */
export interface RegistryOptions extends HttpOptions {
  /** User for this registry; without it the credentials of Docker's and podman's files are used. */
  readonly username?: string;
  /** Password or token of `username`; may hold any character. */
  readonly password?: string;
  /** The source of `username` in messages: a flag, an input, a variable. */
  readonly credentialsFrom?: string;
  /**
   * Send blobs in requests of at most this many bytes (at least 2), where the registry or a proxy refuses larger ones;
   * omitted: a blob in one request. A registry that asks for larger chunks (OCI-Chunk-Min-Length) gets them.
   */
  readonly chunkSize?: number;
  /** Shared with clients of other repositories that have the same options. */
  readonly shared?: SharedConnections;
  /** Tries of a request after the first that fails; omitted: seven, and one where each costs a minute. */
  readonly retries?: number;
}
