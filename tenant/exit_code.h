#ifndef CUPEL_TENANT_EXIT_CODE_H_
#define CUPEL_TENANT_EXIT_CODE_H_

namespace cupel::tenant {

// What every command of cupel-tenant exits with; docs/tenant.md tells users.
enum class ExitCode : int {
  kOk = 0,         // all that was asked for passed
  kFindings = 1,   // a check failed
  kUndecided = 2,  // bad input, or a check could not be made
};

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_EXIT_CODE_H_
