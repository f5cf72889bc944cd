// What is known beforehand of the conformance data and Cupel's answers to it.
#ifndef CUPEL_TESTS_CONFORMANCE_EXPECTATIONS_H_
#define CUPEL_TESTS_CONFORMANCE_EXPECTATIONS_H_

#include <cstddef>
#include <span>

#include "absl/strings/string_view.h"

namespace cupel::conformance {

// Cases that Cupel answers (Case::Group()).
struct DueGroup {
  absl::string_view name;
  size_t case_count;
  // Values beside verdicts that both sides give and that are compared.
  size_t output_count;
};
std::span<const DueGroup> DueGroups();

// Cases about what Cupel does not do yet.
struct LaterGroup {
  absl::string_view name;
  size_t case_count;
  absl::string_view waits_for;
};
std::span<const LaterGroup> LaterGroups();

// Where Cupel's answer is another one, on purpose.
struct Difference {
  absl::string_view name;  // of the case
  // "verdict" or an output's name, "steps[1].verdict" in a case with steps.
  absl::string_view member;
  absl::string_view answer;  // Cupel's: "pass", "refused", or JSON
  absl::string_view reason;  // what Cupel does, and why
};
std::span<const Difference> Differences();

}  // namespace cupel::conformance

#endif  // CUPEL_TESTS_CONFORMANCE_EXPECTATIONS_H_
