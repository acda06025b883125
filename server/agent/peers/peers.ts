/** The members of the peer network as this node sees them (contract of this folder). */
import type { Members, Peer } from './topology.ts';

/** Where the members come from: a static list, DNS, a file, or what an embedder injects. */
export interface MemberSource {
  /** For messages and the log. */
  readonly name: string;
  /** The members now. Rejects where they cannot be known. */
  read(signal: AbortSignal): Promise<readonly Peer[]>;
  /** Calls a function whenever the members may have changed; absent where only asking shows it. */
  onChange?(changed: () => void): void;
  /** Milliseconds since what is read was known to be right; absent where reading itself asks. */
  age?(): number;
  /** Why what is read may be old. */
  problem?(): string | undefined;
  /** Ends what keeps the members up to date. */
  close?(): Promise<void>;
}

/** Nodes that did not answer lately, and nodes that must not be asked. */
export interface Health {
  /** Whether a node is left out for now. */
  isSuspect(id: string): boolean;
  /** A node did not answer in time. */
  suspect(id: string): void;
  /** A node answered. */
  clear(id: string): void;
  /** A node has a view of this version. */
  differs(version: string): void;
}

/** A view of the network. */
export interface View {
  readonly self: Peer;
  readonly members: Members;
  /** A short text that is equal for equal views. */
  readonly version: string;
}
