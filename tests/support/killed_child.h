// A child process that is killed with -9 while it works.
#ifndef CUPEL_TESTS_SUPPORT_KILLED_CHILD_H_
#define CUPEL_TESTS_SUPPORT_KILLED_CHILD_H_

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <thread>
#include <vector>

#include "catch2/catch.hpp"

namespace cupel::testing {

// Forks, has `child` work until it is killed, after `delay`, and returns what
// it has written into its pipe, `Message` by `Message`, before that. The test
// fails if the child ends by itself. Call it while this process has no other
// thread.
template <typename Message>
std::vector<Message> ToldUntilKilled(
    std::chrono::microseconds delay,
    const std::function<void(int pipe)>& child) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    close(ends[0]);
    child(ends[1]);
    _exit(1);
  }
  close(ends[1]);
  std::this_thread::sleep_for(delay);
  kill(pid, SIGKILL);
  int result = 0;
  REQUIRE(waitpid(pid, &result, 0) == pid);
  REQUIRE(WIFSIGNALED(result));
  std::vector<Message> told;
  Message one;
  while (read(ends[0], &one, sizeof(one)) == sizeof(one)) told.push_back(one);
  close(ends[0]);
  return told;
}

}  // namespace cupel::testing

#endif  // CUPEL_TESTS_SUPPORT_KILLED_CHILD_H_
