// What a TPM has in its slots, and handles for it; for this folder alone.
#ifndef CUPEL_AGENT_TPM_ESYS_HANDLES_H_
#define CUPEL_AGENT_TPM_ESYS_HANDLES_H_

#include <tss2/tss2_esys.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/tpm/esys_context.h"

namespace cupel::agent {

// TPM2_GetCapability from `property` on, at most `count` of them. Errors of
// EsysContext::Call.
absl::StatusOr<EsysPtr<TPMS_CAPABILITY_DATA>> GetCapability(
    EsysContext& context, TPM2_CAP capability, uint32_t property,
    uint32_t count);

// The handles that exist, from `first` on in its range. A PC client TPM has far
// fewer than one answer holds. Errors as above.
absl::StatusOr<std::vector<TPM2_HANDLE>> ListHandles(EsysContext& context,
                                                     TPM2_HANDLE first);

// A handle of ESYS for an object, session or index that the TPM has; closed,
// not flushed, with this. Must not outlive the context. Move-only.
class ForeignHandle {
 public:
  // kNotFound if the TPM has no such thing.
  static absl::StatusOr<ForeignHandle> Open(EsysContext& context,
                                            TPM2_HANDLE handle);
  ForeignHandle(ForeignHandle&& other) noexcept
      : context_(other.context_),
        handle_(std::exchange(other.handle_, ESYS_TR_NONE)) {}
  ForeignHandle(const ForeignHandle&) = delete;
  ForeignHandle& operator=(const ForeignHandle&) = delete;
  ForeignHandle& operator=(ForeignHandle&&) = delete;
  ~ForeignHandle();

  ESYS_TR get() const { return handle_; }
  // Whoever has the result flushes it.
  ESYS_TR Release() { return std::exchange(handle_, ESYS_TR_NONE); }

 private:
  ForeignHandle(EsysContext& context, ESYS_TR handle)
      : context_(&context), handle_(handle) {}

  EsysContext* context_;
  ESYS_TR handle_;
};

}  // namespace cupel::agent

#endif  // CUPEL_AGENT_TPM_ESYS_HANDLES_H_
