#ifndef CUPEL_TESTS_BENCH_RATIO_REPORTER_H_
#define CUPEL_TESTS_BENCH_RATIO_REPORTER_H_

#include <map>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"

namespace cupel::bench {

// One line of the table behind the benchmarks: how fast `measured` is beside
// `reference`, both names of benchmarks of the same run.
struct Ratio {
  std::string label;
  std::string measured;
  std::string reference;
  double at_least = 0;  // what the project promises
  double aim = 0;       // what it would like; 0 for none
};

// Prints what Google Benchmark prints, then the ratios of the best repetitions:
// noise on a shared machine only ever makes a run slower.
class RatioReporter : public benchmark::ConsoleReporter {
 public:
  explicit RatioReporter(std::vector<Ratio> ratios);

  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

 private:
  std::vector<Ratio> ratios_;
  std::map<std::string, double> best_seconds_;  // an item, by benchmark
};

}  // namespace cupel::bench

#endif  // CUPEL_TESTS_BENCH_RATIO_REPORTER_H_
