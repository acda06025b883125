/**
 * Flags of the reference convertor that mean nothing here. They are accepted, so that a script keeps working, and each
 * that is given says why it does nothing: never silently.
 */

/** A flag without effect. */
export interface LegacyFlag {
  /** As commander declares it. */
  readonly flags: string;
  /** Name of its value among the parsed options. */
  readonly attribute: string;
  /** Why it does nothing. */
  readonly why: string;
}

/** Every such flag. */
export const LEGACY_FLAGS: readonly LegacyFlag[] = [
  {
    flags: '--mkfs [yes]',
    attribute: 'mkfs',
    why: 'the lowest layer always brings its file system, whatever --mkfs says',
  },
  {
    flags: '--db-str <dsn>',
    attribute: 'dbStr',
    why: 'no database is needed: layers in the repository are reused',
  },
  {
    flags: '--db-type <type>',
    attribute: 'dbType',
    why: 'no database is needed: layers in the repository are reused',
  },
  { flags: '--reserve', attribute: 'reserve', why: 'temporary files are always removed' },
  {
    flags: '--disable-sparse',
    attribute: 'disableSparse',
    why: 'no sparse file is made: layers are written as a stream',
  },
];

/** A warning for each legacy flag among the parsed options. */
export function legacyWarnings(options: Readonly<Record<string, unknown>>): string[] {
  return LEGACY_FLAGS.filter(({ attribute }) => options[attribute] !== undefined).map(
    ({ flags, why }) => `${flags.split(' ')[0]} has no effect: ${why}`,
  );
}
