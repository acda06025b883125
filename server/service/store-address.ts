/** The form of `service.store`, checked before anything connects to it. */
import { AccelError } from '../../base/error.ts';

/** True for the address of a database; otherwise the store is the path of a file. */
export function isDatabase(store: string): boolean {
  return /^postgres(ql)?:\/\//.test(store);
}

/**
 * Checks the address of a database. Throws `usage`; its text is in no error, because where it is wrong a part of the password may be
 * anywhere in it.
 */
export function assertDatabaseAddress(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  const found = problemOf(address, url);
  if (url !== undefined && found === undefined) return url;
  throw new AccelError('usage', 'this is not the address of a database', {
    where: { key: 'service.store' },
    expected: 'postgres://USER:PASSWORD@HOST/DATABASE',
    found: found ?? 'other text',
    hint: 'Characters such as @ and / in a password are written as %40 and %2F.',
  });
}

/** The error of a part of the service that has the embedded queue. */
export function needsDatabase(role: string, store: string): AccelError {
  return new AccelError('usage', `the role ${role} needs a queue that several processes can use`, {
    where: { key: 'service.store' },
    expected: 'postgres://…',
    found: store,
    hint: 'With the embedded queue one process does everything: accel serve without a role.',
  });
}

function problemOf(address: string, url: URL | undefined): string | undefined {
  if (url === undefined) return 'text that is not a URL';
  const signs = address.replace(/\?.*/s, '').split('@').length - 1;
  if (signs > 1) return `${signs} characters @`;
  return url.pathname.indexOf('/', 1) < 0 ? undefined : 'a / in the name of the database';
}
