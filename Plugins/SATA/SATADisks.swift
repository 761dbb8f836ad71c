import BlockFunctions
import FunctionPluginKit
import LinuxDevices
import Services

/// Disks that belong to one host for good: a SATA link has two ends.
struct SATADisks: DiskClass {
  static let name = "sata"

  init(context: PluginContext) {}

  func describe(_ path: String) throws -> DiskDescription? {
    guard let identity = BlockDevice.stableIdentity(path) else { return nil }
    return DiskDescription(
      identity: identity, devices: [path], facts: try BlockDevice.facts(path), health: Health { $0.state = .healthy })
  }
}
