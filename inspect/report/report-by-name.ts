/** Reports a repository by its name, as a user types it. */
import { openTarget } from '../../oci/open.ts';
import { parseRepository } from '../../oci/reference.ts';
import type { RegistryOptions } from '../../oci/registry/registry-options.ts';
import type { RepositoryReport } from './report-facts.ts';
import { type ReportOptions, reportRepository } from './report-repository.ts';

/** Reports `host[:port]/name`, or a layout or archive on disk. Throws what opening and reading it throws. */
export async function reportByName(
  repository: string,
  { registry, ...options }: ReportOptions & { readonly registry: RegistryOptions },
): Promise<RepositoryReport> {
  const target = await openTarget(parseRepository(repository), registry);
  try {
    return await reportRepository(target, options);
  } finally {
    await target.close?.();
  }
}
