#ifndef CUPEL_TENANT_REFERENCE_KERNEL_PATH_H_
#define CUPEL_TENANT_REFERENCE_KERNEL_PATH_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace cupel::tenant {

// Longer ones the kernel can't name: PATH_MAX without the NUL.
inline constexpr size_t kMaxKernelPathSize = 4095;

// How the measurement list names the file at the absolute, real `path`: blanks
// are underscores there.
//
// Source: Linux security/integrity/ima/ima_template_lib.c,
// ima_write_template_field_data().
std::string KernelPath(absl::string_view path);

}  // namespace cupel::tenant

#endif  // CUPEL_TENANT_REFERENCE_KERNEL_PATH_H_
