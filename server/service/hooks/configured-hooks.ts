/** The receivers that the configuration switches on, with their secrets read. */
import { AccelError } from '../../../base/error.ts';
import type { Config } from '../../config/schema.ts';
import { readSecretFile } from '../../config/secret-file.ts';
import type { HookSecrets } from './authenticate.ts';
import type { HookKind, HookSettings } from './hook.ts';

/** A receiver that is switched on. */
export interface ConfiguredHook {
  readonly settings: HookSettings;
  readonly secrets: HookSecrets;
}

/** Kinds whose payload never names the registry. */
const NEEDS_REGISTRY: ReadonlySet<HookKind> = new Set(['artifactory', 'zot']);

/**
 * Reads the secrets of all receivers. Throws `usage` for a file that cannot be used, for one without a registry that needs it, and for a receiver without a secret where the
 * service listens on more than loopback.
 */
export async function loadHooks(
  hooks: Config['service']['hooks'],
  loopback: boolean,
): Promise<ReadonlyMap<HookKind, ConfiguredHook>> {
  const loaded = new Map<HookKind, ConfiguredHook>();
  for (const [kind, hook] of Object.entries(hooks) as [HookKind, (typeof hooks)[HookKind]][]) {
    if (hook === undefined) continue;
    const key = `service.hooks.${kind}`;
    const secrets: HookSecrets = {
      ...(await secretOf('authorization', hook.authorizationFile, `${key}.authorizationFile`)),
      ...(await secretOf('basic', hook.basicFile, `${key}.basicFile`)),
      ...(await secretOf('secret', hook.secretFile, `${key}.secretFile`)),
    };
    if (!loopback && Object.keys(secrets).length === 0) {
      throw new AccelError('usage', 'a receiver that others can reach needs a secret', {
        where: { key },
        expected: 'authorizationFile, basicFile or secretFile',
        found: 'none',
        hint: 'Without a secret, service.listen has to be an address of loopback.',
      });
    }
    if (hook.registry === undefined && NEEDS_REGISTRY.has(kind)) {
      throw new AccelError('usage', `a notification of ${kind} does not say of which registry it is`, {
        where: { key },
        expected: 'registry: HOST, as the rules name it',
        found: 'no registry',
      });
    }
    if (secrets.basic !== undefined && !secrets.basic.includes(':')) {
      throw new AccelError('usage', 'a file of a secret cannot be used', {
        where: { key: `${key}.basicFile`, file: hook.basicFile! },
        expected: 'USER:PASSWORD',
        found: 'no colon',
      });
    }
    loaded.set(kind, { settings: hook.registry === undefined ? {} : { registry: hook.registry }, secrets });
  }
  return loaded;
}

async function secretOf<Name extends keyof HookSecrets>(
  name: Name,
  path: string | undefined,
  key: string,
): Promise<HookSecrets> {
  return path === undefined ? {} : { [name]: await readSecretFile(path, key) };
}
