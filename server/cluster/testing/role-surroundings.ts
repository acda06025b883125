/** The surroundings of a role that a test starts in its own process: context, log, signals, metrics, and its end. */
import { EventEmitter } from 'node:events';
import type { Config } from '../../config/schema.ts';
import { Lifecycle } from '../../lifecycle.ts';
import type { RoleContext } from '../../role.ts';
import { createMetrics } from '../../telemetry/metrics.ts';

/** The context to start a role with, and what a test asks of it afterwards. */
export interface RoleSurroundings {
  readonly context: RoleContext;
  readonly log: readonly string[];
  readonly signals: EventEmitter;
  /** A figure of the metrics, such as `accel_admission_reviews_total{outcome="patched"}`; 0 where it does not exist. */
  figure(name: string): Promise<number>;
  /** Ends the role as SIGTERM does. */
  stop(): Promise<void>;
}

/** Makes the surroundings of a role with a configuration. */
export function roleSurroundings(role: string, config: Config): RoleSurroundings {
  const log: string[] = [];
  const signals = new EventEmitter();
  const lifecycle = new Lifecycle({ signals, drain: 5_000, log: (line) => log.push(line) });
  const metrics = createMetrics(role);
  return {
    context: { config, readConfig: async () => config, metrics, lifecycle, log: (line) => void log.push(line) },
    log,
    signals,
    async figure(name) {
      const line = (await metrics.text()).split('\n').find((one) => one.startsWith(`${name} `));
      return Number(line?.slice(name.length + 1) ?? 0);
    },
    async stop() {
      lifecycle.drain();
      await lifecycle.run();
      await lifecycle[Symbol.asyncDispose]();
    },
  };
}
