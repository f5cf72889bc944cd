// The digest that a line of the ASCII list has for boot_aggregate.
#ifndef CUPEL_TESTS_SUPPORT_BOOT_AGGREGATE_LINE_H_
#define CUPEL_TESTS_SUPPORT_BOOT_AGGREGATE_LINE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/crypto/digest.h"
#include "common/ima/ascii_list.h"
#include "common/ima/boot_aggregate.h"
#include "common/ima/template.h"
#include "common/util/status_macros.h"

namespace cupel::testing {

// In any template that has a digest and a name; the template digest before it
// may be of any bank. Errors: AsciiList::Parse's; kInvalidArgument if `line` is
// not one line, or about another path, or its digest is of an unknown
// algorithm.
inline absl::StatusOr<crypto::Digest> ParseBootAggregateLine(
    absl::string_view line) {
  ima::ListOptions options;
  options.template_digest_size =
      ima::AsciiTemplateDigestSize(line).value_or(20);
  CUPEL_ASSIGN_OR_RETURN(const ima::AsciiList list,
                         ima::AsciiList::Parse(line, options));
  if (list.entries().size() != 1) {
    return absl::InvalidArgumentError("not one line with one entry");
  }
  CUPEL_ASSIGN_OR_RETURN(const ima::EntryFields fields,
                         ima::ParseFields(list.entries().front()));
  if (!ima::IsBootAggregatePath(fields.path)) {
    return absl::InvalidArgumentError("the line is about another path");
  }
  if (!fields.digest || !fields.digest->algorithm) {
    return absl::InvalidArgumentError("no digest of a known algorithm");
  }
  return crypto::Digest::Create(*fields.digest->algorithm,
                                fields.digest->bytes);
}

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_BOOT_AGGREGATE_LINE_H_
