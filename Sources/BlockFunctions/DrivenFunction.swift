import FunctionPluginKit
import LinuxDevices
import Services

/// A PCI function in the hands of VFIO, on its way to a consumer that drives it by itself: a program, also in a container, by
/// device files; a running machine by its monitor; one that is yet to be started by its address.
public struct DrivenFunction: Sendable {
  private let handover: Handover
  private let sysfs: Sysfs

  public init(_ assignment: Assignment, _ sysfs: Sysfs) throws(PluginError) {
    self.init(try Handover(assignment), sysfs)
  }

  init(_ handover: Handover, _ sysfs: Sysfs) {
    self.handover = handover
    self.sysfs = sysfs
  }

  /// - Parameter address: bound to VFIO already.
  public func give(_ address: PCIAddress) throws { try handover.give(sysfs.vfioDevice(of: address), of: address) }

  /// As its consumer has it; nil: anything of it is missing.
  public func arrival(of address: PCIAddress) throws -> Arrival? {
    let device = try sysfs.vfioDevice(of: address)
    guard handover.isGiven(device, of: address) else { return nil }
    return Arrival {
      $0.pciAddress = "\(address)"
      $0.iommuGroup = device.group
      $0.cdiDevice = handover.container?.qualifiedName ?? ""
    }
  }

  public func takeAll() throws { try handover.takeAll() }
}

extension Consumer {
  /// Whether it drives what it gets by itself, where there is something to drive.
  public var drivesItself: Bool {
    switch kind {
    case .userSpace, .virtualMachine: true
    case .container(let container): container.userSpace
    case .host, .networkNamespace, .fileServer, nil: false
    }
  }
}
