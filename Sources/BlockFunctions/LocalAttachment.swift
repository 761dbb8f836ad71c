import FunctionPluginKit
import LinuxDevices
import Services

/// How a function is used on the host that has its disk. Its methods block.
protocol LocalAttachment: Sendable {
  /// Hands the function to its consumer; what is there already is repaired.
  func attach() throws -> FunctionStatus
  /// As its consumer has it; nil if anything of it is missing.
  func current() throws -> FunctionStatus?
  /// By what the function's blocks can still be reached, in words; nil: by nothing.
  func holder() throws -> String?
  /// Cuts the consumer off, whatever it does. On return nothing of the function can be reached by it.
  func detach() throws
}

/// One function's part of a disk.
struct FunctionExtent: Sendable {
  let plan: FunctionPlan
  let disk: DiskDescription
  let extent: AllocatedExtent

  /// In use, as it was read back from a device.
  func arrived(as device: String) throws -> FunctionStatus {
    let facts = try BlockDevice.facts(device)
    guard facts.sizeBytes == extent.sizeBytes, facts.isReadOnly == plan.isReadOnly else {
      throw PluginError(
        .internalError,
        "\(device) has \(facts.sizeBytes) bytes and read-only \(facts.isReadOnly) instead of \(extent.sizeBytes) and "
          + "\(plan.isReadOnly).")
    }
    return completed(
      plan.arrived(sizeBytes: facts.sizeBytes, isReadOnly: facts.isReadOnly) { plan.handover.describe(device, &$0) })
  }

  /// With where the function lies.
  func status(_ phase: FunctionPhase) -> FunctionStatus {
    completed(FunctionStatus(plan.request, phase))
  }

  /// Served to another host, with what the daemon holds it back to.
  func served(at port: UInt32, _ limits: DiskLimits?) -> FunctionStatus {
    var status = FunctionStatus(plan.request, .inUse)
    status.serverPort = port
    status.function?.enforced = plan.enforced(sizeBytes: extent.sizeBytes, isReadOnly: plan.isReadOnly)
    return completed(status, limits)
  }

  /// With where the function lies, and what its consumer is held back to.
  func completed(_ status: FunctionStatus, _ limits: DiskLimits? = nil) -> FunctionStatus {
    var status = status
    status.function?.extent = extent.place
    guard let limits else { return status }
    var block = status.function?.enforced?.block ?? BlockAttributes()
    limits.describe(&block)
    status.function?.enforced?.block = block
    status.arrival?.enforced?.block = block
    return status
  }
}
