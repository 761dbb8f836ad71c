import FunctionPluginKit
import LinuxDevices
import Services

/// How a consumer on this host finds a function's block device: under a name of its own in any case, and by the name of a
/// device for containers, or in a running machine, if it is for one.
struct Handover: Sendable, Hashable {
  static let containerVendor = "iovmesh.io"
  /// Nil: nobody remembers for which claim the function was made. It can be taken back, and given to nobody.
  let link: DeviceLink?
  /// Nil: the consumer is no container.
  let container: ContainerDevice?
  /// Nil: the consumer is no running machine.
  let slot: MachineSlot?

  init(_ assignment: Assignment) throws(PluginError) {
    link = assignment.claim.isEmpty ? nil : try DeviceLink(claim: assignment.claim)
    slot = MachineSlot(assignment)
    guard case .container = assignment.consumer?.kind else {
      container = nil
      return
    }
    let vendor = Self.containerVendor
    // By the claim's name, which people know, where CDI allows it.
    container =
      ContainerDevice(vendor: vendor, deviceClass: assignment.deviceClass, name: assignment.claim)
      ?? ContainerDevice(
        vendor: vendor, deviceClass: assignment.deviceClass, name: "f" + StableDigest.hexadecimal(assignment.function))
  }

  private var containers: ContainerDeviceDirectory { ContainerDeviceDirectory() }

  /// A runtime wants the device itself and takes no link to it.
  private func device(_ path: String) -> ContainerDevice? {
    guard var device = container else { return nil }
    device.files = [Self.resolved(path)]
    return device
  }

  private static func resolved(_ path: String) -> String { SmallFile.resolved(path) ?? path }

  func give(_ path: String) throws {
    guard let link else { throw PluginError(.invalidArgument, "The assignment names no claim.") }
    if let device = device(path) { try containers.write(device) }
    try slot?.plug(.device(path: path, isReadOnly: BlockDevice.facts(path).isReadOnly))
    try link.make(to: path)
  }

  func isGiven(_ path: String) -> Bool {
    link?.leads(to: path) == true && (device(path).map(containers.has) ?? true) && (slot?.isPlugged ?? true)
  }

  /// Only if it leads to this device: another claim of that name may have made it anew.
  func take(_ path: String) throws {
    if let device = device(path), containers.has(device) { try containers.remove(device) }
    let links = link.map { [$0] } ?? DeviceLink.all
    if links.contains(where: { $0.leads(to: path) }) { slot?.unplug() }
    for link in links { try link.remove(to: path) }
  }

  /// Wherever it leads: its device may have been detached by somebody else, and its number given on.
  func takeAll() throws {
    if let container { try containers.remove(container) }
    slot?.unplug()
    try link?.remove()
  }

  // MARK: A function of the disk's drive

  /// A program drives it by VFIO's files, a running machine is given it as it is.
  func give(_ device: VFIODevice, of address: PCIAddress) throws {
    if let container = self.device(device, of: address) { try containers.write(container) }
    try slot?.plug(address)
  }

  func isGiven(_ device: VFIODevice, of address: PCIAddress) -> Bool {
    (self.device(device, of: address).map(containers.has) ?? true) && (slot?.isPlugged ?? true)
  }

  private func device(_ device: VFIODevice, of address: PCIAddress) -> ContainerDevice? {
    var container = container
    container?.give(device, of: address)
    return container
  }

  /// What the consumer is told.
  func describe(_ path: String, _ arrival: inout Arrival) {
    arrival.devicePath = container == nil ? link?.path ?? "" : Self.resolved(path)
    arrival.cdiDevice = container?.qualifiedName ?? ""
  }
}
