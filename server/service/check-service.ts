/** Checks a configuration of the service: what can be known without a registry, a queue or a port. */
import { type Config, hostAndPort } from '../config/schema.ts';
import { isLoopbackHost } from './access-tokens.ts';
import { checkWorkDirectory } from './check-files.ts';
import { serviceSettings } from './service-settings.ts';
import { assertDatabaseAddress, isDatabase, needsDatabase } from './store-address.ts';

/**
 * Checks the configuration of a part of the service with all files that it names, as the start does; returns warnings. Throws `usage` or
 * `io-error`.
 */
export async function checkService(role: string, config: Config): Promise<readonly string[]> {
  const { store } = config.service;
  if (isDatabase(store)) assertDatabaseAddress(store);
  else if (role !== 'both') throw needsDatabase(role, store);
  await serviceSettings(config);
  if (role !== 'api') await checkWorkDirectory(config.service);
  return warningsOf(config);
}

/** Lists settings that are allowed and rarely meant, a line each. */
export function warningsOf({ rules, service }: Config): string[] {
  const warnings: string[] = [];
  if (rules.length === 0) warnings.push('no rules are configured: nothing is converted');
  if (service.tokens.length === 0 && !isLoopbackHost(hostAndPort(service.listen).host)) {
    warnings.push(
      'service.tokens is empty and service.listen is not loopback: the API and the console refuse everyone',
    );
  }
  return warnings;
}
