// A connection to a TPM through ESYS, and owners of what it hands out.
#ifndef CUPEL_AGENT_TPM_ESYS_CONTEXT_H_
#define CUPEL_AGENT_TPM_ESYS_CONTEXT_H_

#include <tss2/tss2_esys.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cupel::agent {

struct EsysDeleter {
  void operator()(void* object) const { Esys_Free(object); }
};
// What ESYS has allocated.
template <typename T>
using EsysPtr = std::unique_ptr<T, EsysDeleter>;

// Gives an EsysPtr to a C function that fills a T**: `Out(pointer)`.
template <typename T>
class EsysOut {
 public:
  explicit EsysOut(EsysPtr<T>& target) : target_(target) {}
  EsysOut(const EsysOut&) = delete;
  EsysOut& operator=(const EsysOut&) = delete;
  ~EsysOut() { target_.reset(raw_); }
  // NOLINTNEXTLINE(google-explicit-constructor): stands for the T** itself.
  operator T**() { return &raw_; }

 private:
  EsysPtr<T>& target_;
  T* raw_ = nullptr;
};
template <typename T>
EsysOut<T> Out(EsysPtr<T>& target) {
  return EsysOut<T>(target);
}

// Calls `call` again, after ever longer pauses of `sleep`, while it returns
// that the TPM is busy (IsBusy), for about two seconds in all. Returns its last
// return code.
uint32_t RetryWhileBusy(absl::FunctionRef<uint32_t()> call,
                        absl::FunctionRef<void(absl::Duration)> sleep);

// Not thread-safe.
class EsysContext {
 public:
  // `tcti` is a configuration string of tss2's TCTI loader:
  // "device:/dev/tpmrm0", "swtpm:host=127.0.0.1,port=2321". kUnavailable if the
  // TPM can't be reached, with the cure.
  static absl::StatusOr<std::unique_ptr<EsysContext>> Open(
      const std::string& tcti);
  ~EsysContext();
  EsysContext(const EsysContext&) = delete;
  EsysContext& operator=(const EsysContext&) = delete;

  ESYS_CONTEXT* get() const { return esys_; }

  // Makes one call of ESYS, by RetryWhileBusy; `command` is the TPM's name of
  // it, for messages. Refused with kUnavailable once broken().
  absl::Status Call(absl::string_view command,
                    absl::FunctionRef<uint32_t()> call);

  // True once a call has failed in a way after which every other one would:
  // the context has to be made anew, and all handles are gone with it.
  bool broken() const { return broken_; }

 private:
  EsysContext() = default;

  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* esys_ = nullptr;
  bool broken_ = false;
};

// A transient object or a session in the TPM, flushed with this. Must not
// outlive the context. Move-only.
class ScopedHandle {
 public:
  ScopedHandle() = default;
  ScopedHandle(EsysContext& context, ESYS_TR handle)
      : context_(&context), handle_(handle) {}
  ScopedHandle(ScopedHandle&& other) noexcept
      : context_(std::exchange(other.context_, nullptr)),
        handle_(std::exchange(other.handle_, ESYS_TR_NONE)) {}
  ScopedHandle& operator=(ScopedHandle&& other) noexcept;
  ScopedHandle(const ScopedHandle&) = delete;
  ScopedHandle& operator=(const ScopedHandle&) = delete;
  ~ScopedHandle() { Flush().IgnoreError(); }

  ESYS_TR get() const { return handle_; }

  // Does nothing the second time.
  absl::Status Flush();

 private:
  EsysContext* context_ = nullptr;
  ESYS_TR handle_ = ESYS_TR_NONE;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_ESYS_CONTEXT_H_
