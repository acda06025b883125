/** The part of the configuration that SIGHUP may change while the service runs: registries, rules, limits. */
import type { RuleSet } from '../../triggers/rules/match-rule.ts';
import { bytesOf, type Config, milliseconds } from '../config/schema.ts';
import type { ConversionLimits } from './conversion-process.ts';
import { loadRules } from './load-rules.ts';
import type { RegistryAccess } from './registries.ts';

/** Settings in force. */
export interface ServiceSettings {
  readonly config: Config;
  readonly rules: RuleSet;
  readonly registries: readonly RegistryAccess[];
  readonly limits: ConversionLimits;
  readonly workDirectory?: string | undefined;
}

/** Works the settings out. Throws `usage` for rules that cannot be used. */
export async function serviceSettings(config: Config): Promise<ServiceSettings> {
  const { service, registries } = config;
  return {
    config,
    rules: await loadRules(config),
    registries,
    limits: { memory: bytesOf(service.memory), timeout: milliseconds(service.timeout) },
    workDirectory: service.workDirectory,
  };
}
