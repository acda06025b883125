/** Requests and answers of HTTP. */
import type { BlobSource } from '../base/byte-source.ts';

/** A request as it goes out. */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: HttpBody;
  readonly signal?: AbortSignal | undefined;
  /** Whether the answer is a blob, which is bounded by its rate and not by the time for a whole document. */
  readonly stream?: boolean;
  /** Whether a server chose the host of the URL, which then must not resolve to a metadata service. */
  readonly foreign?: boolean;
  /** Number of the try of this request, from 1; for the trace. */
  readonly attempt?: number;
}

/** A body of known length that can be sent again. */
export interface HttpBody {
  readonly source: BlobSource;
  /** Bytes. */
  readonly size: number;
  /** Whether it holds a secret, which must not follow a redirect to another origin. */
  readonly secret?: boolean;
}

/** A response. Its body must be read to the end or discarded. */
export interface HttpResponse {
  readonly status: number;
  /** The URL that answered, after redirects. */
  readonly url: URL;
  readonly body: AsyncIterable<Uint8Array>;
  /** A header's value (the values, joined by a comma), by its lower-case name. */
  header(name: string): string | undefined;
  /** The start of the body as text, at most `limit` bytes; the rest is dropped. */
  text(limit: number): Promise<string>;
  /** Like {@link text}, for a body that explains a failure: takes what arrives within a few seconds. */
  excerpt(limit: number): Promise<string>;
  /** Drops the body. */
  discard(): Promise<void>;
}
