import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// An extent used on its disk's own host, on a kernel with the device mapper: a mapped device over it, as fast as the disk.
struct MappedAttachment: LocalAttachment {
  let part: FunctionExtent

  private var plan: FunctionPlan { part.plan }

  /// Found by the function alone, so that it can be taken away when its disk is gone.
  static func device(of function: String) throws -> MappedDevice? { try MappedDevice.find(name(of: function)) }

  private static func name(of function: String) -> String {
    MappedDevice.prefix + StableDigest.hexadecimal(function)
  }

  /// Whether anything of it is on this host, wanted or not.
  var isThere: Bool { get throws { try Self.device(of: plan.function) != nil } }

  /// The device, if it leads to exactly this extent, on whichever of the disk's paths.
  private func found() throws -> MappedDevice? {
    guard let device = try Self.device(of: plan.function), device.isInUse,
      device.offsetBytes == part.extent.offsetBytes, device.sizeBytes == part.extent.sizeBytes,
      part.disk.devices.contains(where: { BlockDevice.number($0) == device.lower })
    else { return nil }
    return device
  }

  func attach() throws -> FunctionStatus {
    var device = try found()
    if device == nil || device?.isReadOnly != plan.isReadOnly {
      // Of a disk that was plugged in again, or half made.
      try Self.device(of: plan.function)?.withdraw()
      device = nil
    }
    let attached =
      try device
      ?? MappedDevice.make(
        Self.name(of: plan.function), over: part.disk.device, offset: part.extent.offsetBytes,
        size: part.extent.sizeBytes, readOnly: plan.isReadOnly)
    try plan.handover.give(attached.path)
    return try part.arrived(as: attached.path)
  }

  func current() throws -> FunctionStatus? {
    guard let device = try found(), plan.handover.isGiven(device.path) else { return nil }
    return try part.arrived(as: device.path)
  }

  func holder() throws -> String? { try Self.device(of: plan.function)?.path }

  /// Cuts the device off from the extent, also while somebody holds it open or has mounted it: what was written and not
  /// yet flushed by a file system is lost then, as when a disk is pulled.
  func detach() throws {
    guard let device = try Self.device(of: plan.function) else { return }
    try plan.handover.take(device.path)
    try device.withdraw()
    if let left = try holder() {
      throw PluginError(.unavailable, "\(plan.function) is still attached as \(left) when read back.")
    }
  }
}
