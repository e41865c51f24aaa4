"""Ghosts as virtual machines over libvirt: QEMU with KVM, and through their drivers VMware and Hyper-V."""
