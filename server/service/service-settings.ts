/** The part of the configuration that SIGHUP may change while the service runs: registries, rules, limits. */
import type { RuleSet } from '../../triggers/rules/match-rule.ts';
import type { RegistryAccess } from '../config/registry-access.ts';
import { bytesOf, type Config, hostAndPort, milliseconds } from '../config/schema.ts';
import { AccessTokens, isLoopbackHost } from './access-tokens.ts';
import { checkRegistryFiles } from './check-files.ts';
import type { ConversionLimits } from './conversion-process.ts';
import { type ConfiguredHook, loadHooks } from './hooks/configured-hooks.ts';
import type { HookKind } from './hooks/hook.ts';
import { loadRules, loadWatches, type WatchSource } from './load-rules.ts';
import { type ConfiguredSink, loadSinks } from './notifications/sinks.ts';

/** Settings in force. */
export interface ServiceSettings {
  readonly config: Config;
  readonly rules: RuleSet;
  readonly watches: readonly WatchSource[];
  readonly registries: readonly RegistryAccess[];
  readonly limits: ConversionLimits;
  readonly workDirectory?: string | undefined;
  readonly sinks: readonly ConfiguredSink[];
  readonly hooks: ReadonlyMap<HookKind, ConfiguredHook>;
  readonly tokens: AccessTokens;
}

/** Works the settings out, and reads the files that they name. Throws `usage` for what cannot be used. */
export async function serviceSettings(config: Config): Promise<ServiceSettings> {
  const { service, registries } = config;
  await checkRegistryFiles(registries);
  const loopback = isLoopbackHost(hostAndPort(service.listen).host);
  return {
    config,
    rules: await loadRules(config),
    watches: loadWatches(config),
    registries,
    limits: { memory: bytesOf(service.memory), timeout: milliseconds(service.timeout) },
    workDirectory: service.workDirectory,
    sinks: await loadSinks(service.notifications),
    hooks: await loadHooks(service.hooks, loopback),
    tokens: await AccessTokens.load(service.tokens, loopback),
  };
}
