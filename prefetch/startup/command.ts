/** The command of an image by its config. */
import type { ImageConfig } from '../../oci/config.ts';

/** The program that is started, and its directory. Texts are Latin-1, as are paths of the image. */
export interface ImageCommand {
  /** Program and arguments: the entrypoint followed by the command. */
  readonly argv: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  /** Absolute. */
  readonly directory: string;
  /** True when users are looked up by name when a container starts. */
  readonly namesUser: boolean;
}

/** Where programs are looked for when the image does not say. */
export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Reads the command; what the config does not say, or says in another form, is left empty. */
export function commandOf({ config }: ImageConfig): ImageCommand {
  const fields = typeof config === 'object' && config !== null ? (config as Record<string, unknown>) : {};
  const environment = new Map(
    textsOf(fields.Env).map((entry) => {
      const equals = entry.indexOf('=');
      return equals < 0 ? ([entry, ''] as const) : ([entry.slice(0, equals), entry.slice(equals + 1)] as const);
    }),
  );
  const { WorkingDir: directory, User: user } = fields;
  return {
    argv: [...textsOf(fields.Entrypoint), ...textsOf(fields.Cmd)],
    environment,
    directory: typeof directory === 'string' && directory.startsWith('/') ? latin1(directory) : '/',
    namesUser: typeof user === 'string' && /[^\d:]/.test(user),
  };
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string').map(latin1) : [];
}

function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}
