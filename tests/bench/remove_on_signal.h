#ifndef CUPEL_TESTS_BENCH_REMOVE_ON_SIGNAL_H_
#define CUPEL_TESTS_BENCH_REMOVE_ON_SIGNAL_H_

#include <string>

namespace cupel::bench {

// From now on SIGINT, SIGTERM and SIGHUP remove `folder` and end the process,
// and with it the programs that it has started (testing::Server). To be called
// before there is any other thread.
void RemoveOnSignal(const std::string& folder);

}  // namespace cupel::bench

#endif  // CUPEL_TESTS_BENCH_REMOVE_ON_SIGNAL_H_
