import LinuxDevices

/// Where a disk is: what a claim can ask for by labels.
struct DiskPlaces: Sendable {
  var labels: [String: String]
  /// Of the links between this host's adapters and the disk; nil: nobody counts them.
  var linkErrors: UInt64?

  init(_ disk: DiskPaths, _ sysfs: Sysfs) {
    labels = [:]
    guard let first = disk.paths.first else { return }
    labels["model"] = (first.vendor + " " + first.product).split(separator: " ").joined(separator: "-")
    switch first.attachment {
    case .sas(let address):
      labels["transport"] = "sas"
      // Asked for here alone, as phys' counters may be an expander's.
      addSAS(address, of: disk, in: sysfs.sasTopology())
    case .iSCSI(let target, let portal):
      labels["transport"] = "iscsi"
      labels["target"] = target
      labels["portal"] = portal
    case .fibreChannel(let port):
      labels["transport"] = "fc"
      labels["port"] = port.flatMap { SASAddress($0) }?.description
    case .other(let driver): labels["transport"] = driver
    // Of other classes.
    case .ata, .usb: break
    }
  }

  private mutating func addSAS(_ address: SASAddress?, of disk: DiskPaths, in topology: SASTopology) {
    guard let address, let device = topology.endDevice(address) else { return }
    if device.isSATA { labels["transport"] = "sata" }
    labels["port"] = "\(address)"
    labels["expander"] = device.expander.map { "\($0)" }
    labels["hba"] = topology.adapters.first { $0.controller == device.controller }?.identity.map { "\($0)" }
    if let slot = topology.slot(of: device) {
      labels["enclosure"] = slot.enclosure.map { "\($0)" }
      labels["bay"] = "\(slot.slot)"
    }
    let addresses = disk.paths.compactMap { if case .sas(let address) = $0.attachment { address } else { nil } }
    let ports = Set(topology.endDevices.filter { addresses.contains($0.address) }.compactMap(\.port))
    let phys = topology.adapters.flatMap(\.phys) + topology.expanders.flatMap(\.phys)
    let counted = phys.filter { $0.port.map(ports.contains) == true }.compactMap(\.errors)
    linkErrors = counted.isEmpty ? nil : counted.reduce(0) { $0 + $1.total }
  }
}
