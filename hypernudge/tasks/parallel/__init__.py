"""One trial on several devices, through Lightning Fabric."""
