// A configuration that loads is rendered as one that loads as the same.
// Input: which program, and its file.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/config/agent_config.h"
#include "common/config/loader.h"
#include "common/config/tenant_config.h"
#include "common/config/verifier_config.h"
#include "common/util/bytes.h"

namespace {

using ::cupel::config::Option;
using ::cupel::config::Sources;

// A file without a name, since the loader takes files alone.
class MemoryFile {
 public:
  explicit MemoryFile(absl::string_view content)
      : fd_(memfd_create("config", MFD_CLOEXEC)) {
    if (fd_ < 0 || write(fd_, content.data(), content.size()) !=
                       static_cast<ssize_t>(content.size())) {
      std::abort();
    }
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { close(fd_); }
  Sources AsSources() const {
    return {.file = absl::StrCat("/proc/self/fd/", fd_), .file_required = true};
  }

 private:
  const int fd_;
};

template <typename Config, typename Load>
void Check(absl::string_view program, absl::string_view text, Load load,
           const std::vector<Option<Config>>& options) {
  const MemoryFile file(text);
  auto config = load(file.AsSources(), nullptr);
  if (!config.ok()) {
    if (config.status().message().empty()) std::abort();
    return;
  }
  const std::string rendered =
      cupel::config::Render(program, cupel::config::Bind(options, *config));
  const MemoryFile again(rendered);
  const auto reloaded = load(again.AsSources(), nullptr);
  if (!reloaded.ok() || !(*reloaded == *config)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const absl::string_view text = cupel::AsText({data + 1, size - 1});
  switch (data[0] % 3) {
    case 0:
      Check("agent", text, cupel::config::LoadAgentConfig,
            cupel::config::AgentOptions());
      break;
    case 1:
      Check("verifier", text, cupel::config::LoadVerifierConfig,
            cupel::config::VerifierOptions());
      break;
    default:
      Check("tenant", text, cupel::config::LoadTenantConfig,
            cupel::config::TenantOptions());
      break;
  }
  return 0;
}
