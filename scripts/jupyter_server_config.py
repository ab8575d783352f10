"""The Jupyter of a clone's .venv, where `make install` links it, does not call a notebook changed by being opened.

JupyterLab notes a kernel's name, language and version in a notebook as soon as the kernel runs. Here it finds them
there already; what is saved says no more of the kernel than the file did before.
"""

from ipykernel.ipkernel import IPythonKernel
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager


class Contents(AsyncLargeFileManager):
    "Files as they are, but for what notebooks say of their kernel."

    def spec_of(self, metadata: dict) -> dict:
        "What JupyterLab will write of a notebook's kernel; empty where it is none of IPython's, or not there."
        name = metadata.get("kernelspec", {}).get("name", "")
        try:
            spec = self.parent.kernel_spec_manager.get_kernel_spec(name)
        except (NoSuchKernel, AttributeError):
            return {}
        return {"display_name": spec.display_name, "language": spec.language, "name": name}

    async def get(self, path, content=True, *how, **named):
        model = await super().get(path, content, *how, **named)
        if content and model["type"] == "notebook":
            metadata = model["content"]["metadata"]
            spec = self.spec_of(metadata)
            if spec.get("language") == "python" and "language_info" not in metadata:
                metadata.update(kernelspec=spec, language_info=IPythonKernel.language_info)
        return model

    async def save(self, model, path=""):
        if model.get("type") == "notebook" and model.get("content") and await self.file_exists(path):
            there = (await super().get(path, type="notebook"))["content"]["metadata"]
            metadata = model["content"]["metadata"]
            if "language_info" not in there:
                metadata.pop("language_info", None)
            if metadata.get("kernelspec", {}).get("name") == there.get("kernelspec", {}).get("name", ""):
                metadata["kernelspec"] = there["kernelspec"]
        return await super().save(model, path)


c.ServerApp.contents_manager_class = Contents  # noqa: F821 - Jupyter's own name for its configuration
