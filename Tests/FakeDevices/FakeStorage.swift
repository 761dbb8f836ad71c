import LinuxDevices

/// Storage in a `FakeKernel`, with the directories and links that the kernel's classes have.
extension FakeKernel {
  /// A host adapter at a place in the tree of devices ("devices/pci0000:00/0000:00:02.0"). Answers its directory.
  @discardableResult
  public func addHost(_ number: UInt32, at place: String, driver: String) -> String {
    let host = "\(place)/host\(number)"
    addClass("scsi_host", "host\(number)", in: host)
    put(driver, at: "class/scsi_host/host\(number)/proc_name")
    return host
  }

  /// A member of a class, in the directory of the device whose it is: DEVICE/CLASS/NAME with a link back.
  public func addClass(_ name: String, _ member: String, in device: String) {
    make("\(device)/\(name)/\(member)")
    make("class/\(name)")
    link("class/\(name)/\(member)", to: "\(device)/\(name)/\(member)")
    link("\(device)/\(name)/\(member)/device", to: device)
  }

  public func addSASHost(_ number: UInt32, at place: String, phys: Int, address: String) -> String {
    let host = addHost(number, at: place, driver: "mptsas")
    addClass("sas_host", "host\(number)", in: host)
    for phy in 0..<phys { addPhy("phy-\(number):\(phy)", in: host, identifier: phy, address: address) }
    return host
  }

  public func addPhy(_ name: String, in owner: String, identifier: Int, address: String, rate: String = "Unknown") {
    addClass("sas_phy", name, in: "\(owner)/\(name)")
    let node = "class/sas_phy/\(name)"
    let attributes = [
      "phy_identifier": "\(identifier)", "sas_address": address, "negotiated_linkrate": rate,
      "maximum_linkrate": "12.0 Gbit", "enable": "1", "invalid_dword_count": "0", "running_disparity_error_count": "0",
      "loss_of_dword_sync_count": "0", "phy_reset_problem_count": "0",
    ]
    for (attribute, value) in attributes { put(value, at: "\(node)/\(attribute)") }
  }

  /// A port with the phys of its owner. Answers its directory.
  public func addPort(_ name: String, in owner: String, phys: [String], rate: String = "6.0 Gbit") -> String {
    let port = "\(owner)/\(name)"
    addClass("sas_port", name, in: port)
    for phy in phys {
      link("\(port)/\(phy)", to: "\(owner)/\(phy)")
      link("\(owner)/\(phy)/port", to: port)
      put(rate, at: "class/sas_phy/\(phy)/negotiated_linkrate")
    }
    return port
  }

  /// What is at a port's other end. Answers its directory.
  public func addSASDevice(_ name: String, in port: String, _ attributes: [String: String]) -> String {
    let device = "\(port)/\(name)"
    addClass("sas_device", name, in: device)
    addClass(name.hasPrefix("expander") ? "sas_expander" : "sas_end_device", name, in: device)
    for (attribute, value) in attributes { put(value, at: "class/sas_device/\(name)/\(attribute)") }
    return device
  }

  public struct Unit: Sendable {
    public var address: String
    public var block: String?
    public var generic: String?
    public var attributes: [String: String] = [
      "vendor": "SEAGATE", "model": "ST300MM0048", "rev": "N0A1", "type": "0", "state": "running",
    ]
    /// Pages as the device sends them.
    public var pages: [UInt8: [UInt8]] = [:]

    public init(_ address: String, block: String? = nil, generic: String? = nil) {
      self.address = address
      self.block = block
      self.generic = generic
    }

    /// The page with the unit's NAA name.
    public mutating func name(_ bytes: [UInt8]) {
      pages[0x83] = [0, 0x83, 0, UInt8(bytes.count + 4), 0x01, 0x03, 0, UInt8(bytes.count)] + bytes
    }

    public mutating func serial(_ text: String) {
      pages[0x80] = [0, 0x80, 0, UInt8(text.utf8.count)] + Array(text.utf8)
    }
  }

  /// A logical unit below a target's directory ("…/end_device-0:0"). Answers its directory.
  @discardableResult
  public func addUnit(_ unit: Unit, in parent: String) -> String {
    let target = unit.address.split(separator: ":").dropLast().joined(separator: ":")
    let device = "\(parent)/target\(target)/\(unit.address)"
    make(device)
    make("bus/scsi/devices")
    link("bus/scsi/devices/\(unit.address)", to: device)
    for (attribute, value) in unit.attributes { put(value, at: "\(device)/\(attribute)") }
    for (page, bytes) in unit.pages { put(bytes, at: "\(device)/vpd_pg\(page == 0x80 ? "80" : "83")") }
    if let block = unit.block { addBlock(block, in: device) }
    if let generic = unit.generic { addClass("scsi_generic", generic, in: device) }
    return device
  }

  /// A disk's block device.
  public func addBlock(_ name: String, in device: String, sectors: UInt64 = 1 << 21) {
    addClass("block", name, in: device)
    let disk = "\(device)/block/\(name)"
    make("block")
    link("block/\(name)", to: disk)
    for directory in ["queue", "holders", "slaves"] { make("\(disk)/\(directory)") }
    put("\(sectors)", at: "\(disk)/size")
    put("0", at: "\(disk)/ro")
    put("0", at: "\(disk)/removable")
    put("512", at: "\(disk)/queue/logical_block_size")
    put("4096", at: "\(disk)/queue/physical_block_size")
  }
}
