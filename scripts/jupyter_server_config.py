"""The Jupyter of a clone's .venv, where `make install` links it, does not call a notebook changed by being opened.

JupyterLab notes a kernel's name, language and version in a notebook as soon as the kernel runs. Here it finds them
there already; what is saved has them left out again, as `nbdev_clean` leaves it.
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

    async def get(self, path, content=True, **how):
        model = await super().get(path, content=content, **how)
        if content and model["type"] == "notebook":
            metadata = model["content"]["metadata"]
            spec = self.spec_of(metadata)
            if spec.get("language") == "python" and "language_info" not in metadata:
                metadata.update(kernelspec=spec, language_info=IPythonKernel.language_info)
        return model

    async def save(self, model, path=""):
        metadata = model.get("content", {}).get("metadata", {}) if model.get("type") == "notebook" else {}
        if metadata.get("language_info", {}).get("name") == "python":
            del metadata["language_info"]
            metadata["kernelspec"]["display_name"] = metadata["kernelspec"]["name"]
        return await super().save(model, path)


c.ServerApp.contents_manager_class = Contents  # noqa: F821 - Jupyter's own name for its configuration
