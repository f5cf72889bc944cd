#include "tests/bench/ratio_reporter.h"

#include <cstdio>
#include <utility>

namespace cupel::bench {

RatioReporter::RatioReporter(std::vector<Ratio> ratios)
    : ConsoleReporter(OO_Tabular), ratios_(std::move(ratios)) {}

void RatioReporter::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    const auto items = run.counters.find("items_per_second");
    if (run.run_type != Run::RT_Iteration || run.error_occurred ||
        items == run.counters.end()) {
      continue;
    }
    const double seconds = 1.0 / items->second.value;
    double& best =
        best_seconds_.try_emplace(run.run_name.function_name, seconds)
            .first->second;
    best = std::min(best, seconds);
  }
  ConsoleReporter::ReportRuns(runs);
}

void RatioReporter::Finalize() {
  std::printf("\n%-42s %10s %10s %8s %9s %6s\n", "ratio (best repetitions)",
              "ns/item", "reference", "ratio", "at least", "aim");
  for (const Ratio& ratio : ratios_) {
    const auto measured = best_seconds_.find(ratio.measured);
    const auto reference = best_seconds_.find(ratio.reference);
    if (measured == best_seconds_.end() || reference == best_seconds_.end()) {
      continue;
    }
    const double value = reference->second / measured->second;
    std::printf("%-42s %10.1f %10.1f %8.3f %9.2f", ratio.label.c_str(),
                measured->second * 1e9, reference->second * 1e9, value,
                ratio.at_least);
    if (ratio.aim != 0) {
      std::printf(" %6.2f", ratio.aim);
    } else {
      std::printf(" %6s", "");
    }
    std::printf("  %s\n", value >= ratio.at_least ? "ok" : "BELOW");
  }
  ConsoleReporter::Finalize();
}

}  // namespace cupel::bench
