// Names in a measurement list that are no paths.
#ifndef CUPEL_COMMON_POLICY_SPECIAL_NAMES_H_
#define CUPEL_COMMON_POLICY_SPECIAL_NAMES_H_

#include "absl/strings/string_view.h"

namespace cupel::policy {

// The entry over the PCRs of the boot (Linux security/integrity/ima/ima_init.c)
// and the one that IMA adds where the TPM came up after it.
inline constexpr absl::string_view kBootAggregate = "boot_aggregate";
inline constexpr absl::string_view kBootAggregateLate = "boot_aggregate_late";

// True for a name that the kernel gives to what has no path: the two above,
// "kexec-cmdline", and any that starts with "memfd:", "dev/" (shared memory of
// a device), "SYSV" (System V shared memory) or "anon_inode:".
bool IsSpecialName(absl::string_view name);

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_SPECIAL_NAMES_H_
