/** Defines a role of the server: the contract between main.ts and the roles, which do not know each other. */
import type { Config } from './config/schema.ts';
import type { Handover } from './handover/handover.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { ExposedState } from './telemetry/exposition.ts';
import type { Metrics } from './telemetry/metrics.ts';

/** The configuration and services that a role gets. */
export interface RoleContext {
  readonly config: Config;
  /** Reads the configuration's file again, for SIGHUP. Throws as at the start. */
  readonly readConfig: () => Promise<Config>;
  readonly metrics: Metrics;
  readonly lifecycle: Lifecycle;
  /** Sockets and news of a holder; undefined in a process that opens its own. */
  readonly handover?: Handover | undefined;
  /** Metrics and health, which the role answers on its own port where they have none. */
  readonly exposed?: ExposedState;
  /** Writes one line of the log. */
  readonly log: (line: string) => void;
}

/** Starts a role and registers with the lifecycle what ends it; resolves when it runs. */
export type RoleStarter = (context: RoleContext) => Promise<void>;
